/** What is shown while there is no list: until it is open, and when it cannot be. */
import { Component, type ReactNode } from 'react'

/** Takes the place of its children when the list could not be opened, or was closed under them. */
export class FailureBoundary extends Component<{ readonly children: ReactNode }, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false }

  static getDerivedStateFromError() {
    return { hasFailed: true }
  }

  override render() {
    if (!this.state.hasFailed) return this.props.children
    return <Failure text="The list could not be opened in this browser. What you have written is kept." />
  }
}

export const Failure = ({ text }: { readonly text: string }) => (
  <div className="page">
    <main className="card notice" role="alert">
      <h1>todos</h1>
      <p>{text}</p>
      <button type="button" onClick={() => location.reload()}>
        Reload
      </button>
    </main>
  </div>
)

export const Loading = () => (
  <div className="page">
    <p className="loading" role="status">
      Opening your list …
    </p>
  </div>
)
