/**
 * What a section cost: wall time, and CPU time from the kernel's accounting of the server's process.
 *
 * Knows nothing of the protocol. Needs Linux (`/proc`).
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Cost {
  readonly wallMs: number
  readonly cpuUs: number
  /** CPU of this process over the wall time: near 1, the generator is what was measured. */
  readonly generatorLoad: number
}

/**
 * Times of all threads of `pid` so far, on a CPU and waiting for one; the scheduler counts nanoseconds, clock ticks would
 * be too coarse.
 */
const timesOf = (pid: number): { readonly cpuUs: number; readonly waitUs: number } => {
  let [cpuNs, waitNs] = [0, 0]
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [cpu, wait] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')
    cpuNs += Number(cpu)
    waitNs += Number(wait)
  }
  return { cpuUs: cpuNs / 1000, waitUs: waitNs / 1000 }
}

const cpuUsOf = (pid: number): number => timesOf(pid).cpuUs

/** Time for which `pid` had something to do, whether it got a CPU for it or not. */
export const busyUsOf = (pid: number): number => {
  const { cpuUs, waitUs } = timesOf(pid)
  return cpuUs + waitUs
}

const settlePollMs = 20
const settleUsMax = 400
const settlePolls = 3
const settleDeadlineMs = 20_000

/** Resolves once `pid` has been all but idle for a while: its queues are empty and its garbage is collected. */
const settle = async (pid: number): Promise<void> => {
  const deadline = performance.now() + settleDeadlineMs
  let quiet = 0
  let before = cpuUsOf(pid)
  while (quiet < settlePolls) {
    if (performance.now() > deadline) throw new Error('the server does not come to rest')
    await sleep(settlePollMs)
    const now = cpuUsOf(pid)
    quiet = now - before < settleUsMax ? quiet + 1 : 0
    before = now
  }
}

/** Runs `body` against an idle server and counts all the CPU that the server spends on it, also after `body` is done. */
export const measure = async (pid: number, body: () => Promise<void>): Promise<Cost> => {
  await settle(pid)
  const generatorBefore = process.cpuUsage()
  const cpuBefore = cpuUsOf(pid)
  const start = performance.now()
  await body()
  const wallMs = performance.now() - start
  const generator = process.cpuUsage(generatorBefore)
  await settle(pid)
  const cpuUs = cpuUsOf(pid) - cpuBefore
  return { wallMs, cpuUs, generatorLoad: (generator.user + generator.system) / 1000 / wallMs }
}

/** A line of `/proc/PID/status`, from kB to MiB. */
const statusMib = (pid: number, name: string): number => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)![1]) / 1024
}

/** Resident memory of `pid` in MiB. */
export const residentMib = (pid: number): number => statusMib(pid, 'VmRSS')

/** The highest that the resident memory of `pid` has come to since the last `forgetPeak`, in MiB. */
export const peakMib = (pid: number): number => statusMib(pid, 'VmHWM')

/** Begins a new peak of `pid`'s resident memory, from what it is now. */
export const forgetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5')

/** The value below which the share `quantile` of `values` lies. */
export const percentile = (values: readonly number[], quantile: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)]!
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
