/** Reading metrics as Prometheus does, only that nothing is forgiven. */
import assert from 'node:assert/strict'
import type { Server } from '../harness/server.ts'
import { administer, storePath } from './administration.ts'

/** One line with a value. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const helpLine = /^# HELP ([a-zA-Z_:][\w:]*) (\S.*)$/
const typeLine = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/
const sampleLine = /^([a-zA-Z_:][\w:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\d+)$/
const labelPair = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(,|$)/g

const unescaped = (text: string): string =>
  text.replaceAll(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter))

export class Metrics {
  readonly samples: readonly Sample[]
  /** What each metric is. */
  readonly types: ReadonlyMap<string, string>

  private constructor(samples: readonly Sample[], types: ReadonlyMap<string, string>) {
    this.samples = samples
    this.types = types
  }

  /** Reads an exposition; asserts that every line is one, that what belongs together stands together, and nothing twice. */
  static parse(text: string): Metrics {
    const lines = text.split('\n')
    assert.equal(lines.pop(), '', 'the last line ends with a line break')
    const samples: Sample[] = []
    const [helps, types] = [new Map<string, string>(), new Map<string, string>()]
    let current = ''
    for (const line of lines) {
      const [help, type, sample] = [helpLine.exec(line), typeLine.exec(line), sampleLine.exec(line)]
      if (help !== null) {
        current = help[1]!
        assert.ok(!helps.has(current), `HELP of ${current} stands twice`)
        helps.set(current, help[2]!)
      } else if (type !== null) {
        assert.equal(type[1], current, 'TYPE follows HELP')
        assert.ok(!types.has(current), `TYPE of ${current} stands twice`)
        types.set(current, type[2]!)
      } else {
        assert.ok(sample !== null, `no line of the format: ${JSON.stringify(line)}`)
        const [, name, labels, value] = sample
        const parts = types.get(current) === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
        assert.ok(
          parts.some((part) => name === current + part),
          `${name} stands below ${current}`,
        )
        const pairs = [...labels!.matchAll(labelPair)].map(([, key, text]) => [key!, unescaped(text!)] as const)
        assert.equal(new Set(pairs.map(([key]) => key)).size, pairs.length, `a label twice: ${line}`)
        samples.push({ name: name!, labels: Object.fromEntries(pairs), value: Number(value) })
      }
    }
    const keys = samples.map(({ name, labels }) => JSON.stringify([name, Object.entries(labels).toSorted()]))
    assert.equal(new Set(keys).size, keys.length, 'no sample stands twice')
    assert.deepEqual([...helps.keys()], [...types.keys()])
    return new Metrics(samples, types)
  }

  /** The value of the one sample with this name and these labels; names go without their prefix. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const found = this.samples.filter(
      (sample) =>
        sample.name === `livestore_sync_${name}` &&
        Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    assert.equal(found.length, 1, `one sample is ${name} ${JSON.stringify(labels)}`)
    return found[0]!.value
  }

  /** Refusals by reason, those that there were. */
  get refusals(): Readonly<Record<string, number>> {
    const refusals = this.samples.filter(({ name, value }) => name === 'livestore_sync_refusals_total' && value > 0)
    return Object.fromEntries(refusals.map(({ labels, value }) => [labels['reason']!, value]))
  }

  /** How much each counter without labels of its own has grown since `before`, those that have. */
  since(before: Metrics): Readonly<Record<string, number>> {
    const grown = [...this.types]
      .filter(([metric, type]) => type === 'counter' && metric !== 'livestore_sync_refusals_total')
      .map(([metric]) => metric.replace('livestore_sync_', ''))
      .map((name) => [name.replace(/_total$/, ''), this.value(name) - before.value(name)] as const)
    return Object.fromEntries(grown.filter(([, growth]) => growth !== 0))
  }
}

/** The metrics of a store. */
export const metricsOf = async (server: Pick<Server, 'url'>, storeId: string): Promise<Metrics> => {
  const answer = await administer(server, storePath(storeId, '/metrics'))
  assert.equal(answer.status, 200, answer.body)
  assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  return Metrics.parse(answer.body)
}
