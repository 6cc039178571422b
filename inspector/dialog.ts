/** Dialogs. The browser keeps the focus inside of one and gives it back; Escape closes it. */
import { type Child, freshId, h, whileBusy } from './dom.ts'
import { wordsOf } from './format.ts'

/** Opens a dialog; `content` is given the function that closes it. Resolves once it is closed. */
export const openDialog = (title: string, content: (close: () => void) => readonly Child[]): Promise<void> => {
  const id = freshId()
  const dialog = h('dialog', { 'aria-labelledby': id })
  const close = (): void => dialog.close()
  dialog.append(h('h2', { id }, title), h('div', { class: 'dialog-body' }, ...content(close)))
  document.body.append(dialog)
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve()
    })
  })
}

interface Question {
  readonly title: string
  readonly text: readonly string[]
  /** The words of the button that does it. */
  readonly action: string
  /** What has to be typed first. */
  readonly typed?: string
  /** What is done; its words are shown if it fails. */
  readonly run: () => Promise<void>
}

/** Asks whether something is to be done, and has it done. */
export const confirm = ({ title, text, action, typed, run }: Question): Promise<void> =>
  openDialog(title, (close) => {
    const input = h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off' })
    const button = h('button', { type: 'submit', class: typed === undefined ? 'primary' : 'danger' }, action)
    const failure = h('p', { class: 'failure', role: 'alert' })
    if (typed !== undefined) {
      button.disabled = true
      input.addEventListener('input', () => (button.disabled = input.value !== typed))
    }
    const form = h(
      'form',
      {
        onsubmit: (event) => {
          event.preventDefault()
          if (button.disabled) return
          failure.textContent = ''
          void whileBusy(button, () =>
            run().then(close, (error: unknown) => void (failure.textContent = wordsOf(error))),
          )
        },
      },
      typed === undefined ? null : h('label', {}, h('span', {}, 'Type ', h('code', {}, typed), ' to go on'), input),
      failure,
      h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'quiet', onclick: close }, 'Cancel'), button),
    )
    return [text.map((paragraph) => h('p', {}, paragraph)), form]
  })
