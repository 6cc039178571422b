/** Something that fills a part of the page until another takes its place. */
export interface View {
  readonly element: HTMLElement
  dispose(): void
}
