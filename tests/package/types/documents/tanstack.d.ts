// What is used of TanStack Start, which is not installed here.
declare module '@tanstack/react-router' {
  type Handler = (context: { readonly request: Request }) => Promise<Response>
  export const createFileRoute: (
    path: string,
  ) => (options: { readonly server: { readonly handlers: Readonly<Record<string, Handler>> } }) => unknown
}
