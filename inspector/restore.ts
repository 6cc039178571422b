/** The dialog that brings a log back from the backup: what is wanted, what that would keep and lose, and only then the deed. */
import { storePath } from './api.ts'
import { openDialog } from './dialog.ts'
import { h, morph, whileBusy } from './dom.ts'
import { bytes, count, many, moment, wordsOf } from './format.ts'
import type { Session } from './session.ts'
import type { Forecast } from '../host/administration.ts'

export const openRestore = (session: Session): Promise<void> =>
  openDialog('Restore from the backup', (close) => {
    const { storeId } = session
    const lifetimes = session.known.value?.state.lifetimes ?? []
    const field = (label: string, hint: string, attributes: Readonly<Record<string, string>> = {}) => {
      const input = h('input', {
        type: 'text',
        autocomplete: 'off',
        spellcheck: 'false',
        oninput: () => change(),
        ...attributes,
      })
      return { input, label: h('label', {}, h('span', {}, label, h('small', {}, hint)), input) }
    }
    const check = (label: string, hint: string) => {
      const input = h('input', { type: 'checkbox', onchange: () => change() })
      return { input, label: h('label', { class: 'check' }, input, h('span', {}, label, h('small', {}, hint))) }
    }
    const source = field('Store', 'whose backup is taken', { placeholder: storeId })
    const lifetime = field('Lifetime', 'the backend id of an earlier log', {
      placeholder: lifetimes[0]?.backendId ?? 'the one that began last',
    })
    const upTo = field('Up to', 'the number of the last event to keep, or a time', {
      placeholder: 'the end, or 1200, or 2026-01-31T18:00:00Z',
    })
    const replace = check('Replace what the store holds', 'otherwise a store with events is left alone')
    const keep = check(
      'Go on in the same lifetime',
      'clients keep what they have; right only if the backup ends where they were last acknowledged',
    )
    const knownHead = field('Last known head', 'the last event that was acknowledged, where the object does not know', {
      inputmode: 'numeric',
    })
    const gaps = check('Allow gaps', 'for logs that come from sync-cf')
    const forecast = h('div', { class: 'forecast', role: 'status' })
    const failure = h('p', { class: 'failure', role: 'alert' })
    const dryRun = h('button', { type: 'submit', class: 'primary' }, 'See what would happen')
    const restore = h('button', { type: 'button', class: 'danger', onclick: () => void run() }, 'Restore')
    restore.disabled = true
    knownHead.label.hidden = true

    const bodyOf = (isDry: boolean): object => {
      const text = upTo.input.value.trim()
      const from = {
        ...(source.input.value ? { storeId: source.input.value } : {}),
        ...(lifetime.input.value.trim() ? { backendId: lifetime.input.value.trim() } : {}),
      }
      return {
        storeId,
        ...(Object.keys(from).length > 0 ? { from } : {}),
        ...(text === '' ? {} : { upTo: /^\d+$/.test(text) ? Number(text) : text }),
        ...(replace.input.checked ? { replace: true } : {}),
        ...(keep.input.checked ? { keepBackendId: true } : {}),
        ...(keep.input.checked && knownHead.input.value ? { lastKnownHead: Number(knownHead.input.value) } : {}),
        ...(gaps.input.checked ? { allowGaps: true } : {}),
        ...(isDry ? { dryRun: true } : {}),
      }
    }

    /** What was seen is not what is asked for any more. */
    const change = (): void => {
      restore.disabled = true
      knownHead.label.hidden = !keep.input.checked
      morph(forecast)
      failure.textContent = ''
    }

    const see = async (): Promise<void> => {
      change()
      try {
        const { kept, lost, from, keepsBackendId } = await session.api.post<Forecast>(
          storePath(storeId, '/restore'),
          bodyOf(true),
        )
        const facts: ReadonlyArray<readonly [string, string]> = [
          ['From', `${from.storeId}, lifetime ${from.backendId}`],
          [
            'Kept',
            `${many(kept.events, 'event')} up to ${count(kept.head)}, ${bytes(kept.bytes)}, the last of ${moment(Date.parse(kept.lastAt))}`,
          ],
          [
            'Left out',
            lost.afterUpTo === 0
              ? 'nothing of the backup'
              : `${many(lost.afterUpTo, 'event')} of the backup after that`,
          ],
          [
            'Replaced',
            lost.ofStore === 0
              ? 'nothing: the store is empty'
              : `${many(lost.ofStore, 'event')} that the store holds now`,
          ],
          [
            'Clients',
            keepsBackendId ? 'keep what they have and go on' : 'drop what they have and start over, as after a reset',
          ],
        ]
        morph(
          forecast,
          h(
            'dl',
            {},
            facts.map(([term, value]) => [h('dt', {}, term), h('dd', {}, value)]),
          ),
        )
        restore.disabled = false
      } catch (error) {
        failure.textContent = wordsOf(error)
      }
    }

    const run = async (): Promise<void> => {
      restore.disabled = true
      try {
        await session.api.post(storePath(storeId, '/restore'), bodyOf(false))
        close()
        await session.refresh()
      } catch (error) {
        failure.textContent = wordsOf(error)
      }
    }

    return [
      h(
        'form',
        {
          onsubmit: (event) => {
            event.preventDefault()
            void whileBusy(dryRun, see)
          },
        },
        source.label,
        lifetime.label,
        upTo.label,
        replace.label,
        keep.label,
        knownHead.label,
        gaps.label,
        forecast,
        failure,
        h(
          'div',
          { class: 'buttons' },
          h('button', { type: 'button', class: 'quiet', onclick: close }, 'Cancel'),
          dryRun,
          restore,
        ),
      ),
    ]
  })
