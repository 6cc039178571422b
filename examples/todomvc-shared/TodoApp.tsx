/** The page: a list of todos and how it stands with the sync server. Knows nothing of LiveStore. */
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState, useSyncExternalStore } from 'react'
import { SyncStatus } from './SyncStatus.tsx'
import type { SyncState } from './sync-state.ts'

export interface Todo {
  readonly id: string
  readonly text: string
  readonly completed: boolean
}

/** What the user can do to the list. */
export interface TodoActions {
  create(text: string): void
  setCompleted(id: string, completed: boolean): void
  rename(id: string, text: string): void
  remove(id: string): void
  clearCompleted(): void
}

interface TodoAppProps {
  readonly todos: readonly Todo[]
  readonly actions: TodoActions
  readonly sync: SyncState
  /** What tells this app from its siblings, such as the release of LiveStore. */
  readonly subtitle: string
}

export const TodoApp = ({ todos, actions, sync, subtitle }: TodoAppProps) => {
  const filter = useFilter()
  const shown = todos.filter((todo) => filter === 'all' || todo.completed === (filter === 'completed'))
  const left = todos.filter((todo) => !todo.completed).length
  return (
    <div className="page">
      <header className="top">
        <div>
          <h1>todos</h1>
          <p className="subtitle">{subtitle}</p>
        </div>
        <SyncStatus state={sync} />
      </header>
      <main className="card">
        <NewTodo create={actions.create} />
        {shown.length > 0 ? (
          <ul className="todos" aria-label="Todos">
            {shown.map((todo) => (
              <TodoItem key={todo.id} todo={todo} actions={actions} />
            ))}
          </ul>
        ) : (
          <p className="empty">{todos.length === 0 ? 'Nothing to do yet.' : `No ${filter} todos.`}</p>
        )}
        <footer className="bar">
          <span className="count">{left === 1 ? '1 item left' : `${left} items left`}</span>
          <nav className="filters" aria-label="Filter">
            {filters.map((name) => (
              <a key={name} href={`#/${name}`} aria-current={name === filter ? 'page' : undefined}>
                {name}
              </a>
            ))}
          </nav>
          <button
            type="button"
            className="quiet"
            disabled={left === todos.length}
            onClick={() => actions.clearCompleted()}
          >
            Clear completed
          </button>
        </footer>
      </main>
      <Share />
    </div>
  )
}

const NewTodo = ({ create }: { readonly create: (text: string) => void }) => {
  const [text, setText] = useState('')
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    if (text.trim() === '') return
    create(text.trim())
    setText('')
  }
  return (
    <form className="new" onSubmit={submit}>
      <input
        aria-label="New todo"
        placeholder="What needs to be done?"
        autoFocus
        autoComplete="off"
        enterKeyHint="done"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <button type="submit" disabled={text.trim() === ''}>
        Add
      </button>
    </form>
  )
}

const TodoItem = ({ todo, actions }: { readonly todo: Todo; readonly actions: TodoActions }) => {
  const [isEditing, setEditing] = useState(false)
  const editButton = useRef<HTMLButtonElement>(null)
  const { id, text, completed } = todo
  const rename = (to: string | undefined): void => {
    setEditing(false)
    editButton.current?.focus()
    if (to === undefined || to === text) return
    if (to === '') actions.remove(id)
    else actions.rename(id, to)
  }
  return (
    <li data-completed={completed}>
      <label className="tick">
        <input
          type="checkbox"
          checked={completed}
          aria-label={text}
          onChange={(event) => actions.setCompleted(id, event.target.checked)}
        />
        {!isEditing && (
          <span className="text" onDoubleClick={() => setEditing(true)}>
            {text}
          </span>
        )}
      </label>
      {isEditing && <EditTodo text={text} done={rename} />}
      <button
        ref={editButton}
        type="button"
        className="icon"
        aria-label={`Edit ${text}`}
        onClick={() => setEditing(true)}
      >
        <Icon path="M4 20h4L19 9l-4-4L4 16z" />
      </button>
      <button type="button" className="icon" aria-label={`Delete ${text}`} onClick={() => actions.remove(id)}>
        <Icon path="M6 6l12 12M18 6L6 18" />
      </button>
    </li>
  )
}

/** A field over the text: Enter or leaving it takes the new text, Escape does not. */
const EditTodo = ({ text, done }: { readonly text: string; readonly done: (to: string | undefined) => void }) => {
  const field = useRef<HTMLInputElement>(null)
  const [edited, setEdited] = useState(text)
  useEffect(() => field.current?.select(), [])
  // Moving the focus away, which is part of being done, leaves the field once more.
  const isDone = useRef(false)
  const finish = (to: string | undefined): void => {
    if (isDone.current) return
    isDone.current = true
    done(to)
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' && event.key !== 'Escape') return
    // The key would go on to press what has the focus next.
    event.preventDefault()
    finish(event.key === 'Enter' ? edited.trim() : undefined)
  }
  return (
    <input
      ref={field}
      className="edit"
      aria-label={`New text of ${text}`}
      value={edited}
      onChange={(event) => setEdited(event.target.value)}
      onKeyDown={onKeyDown}
      onBlur={() => finish(edited.trim())}
    />
  )
}

const Share = () => {
  const [isCopied, setCopied] = useState(false)
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(location.href)
    setCopied(true)
  }
  return (
    <p className="share">
      Open this address in a second window to see both change.{' '}
      <button type="button" className="link" onClick={() => void copy()}>
        {isCopied ? 'Copied' : 'Copy address'}
      </button>
    </p>
  )
}

const Icon = ({ path }: { readonly path: string }) => (
  <svg viewBox="0 0 24 24" aria-hidden="true">
    <path d={path} />
  </svg>
)

const filters = ['all', 'active', 'completed'] as const

type Filter = (typeof filters)[number]

/** The filter stands in the address behind `#/`, so that going back works. */
const useFilter = (): Filter => {
  const hash = useSyncExternalStore(
    (listen) => {
      window.addEventListener('hashchange', listen)
      return () => window.removeEventListener('hashchange', listen)
    },
    () => location.hash.replace(/^#\//, ''),
  )
  return filters.find((name) => name === hash) ?? 'all'
}
