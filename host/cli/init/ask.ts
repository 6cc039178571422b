/** A question at a terminal. */
import { createInterface } from 'node:readline/promises'

export interface Terminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly output: NodeJS.WritableStream & { readonly isTTY?: boolean }
}

/** Whether somebody is there to be asked. */
export const isAnswered = ({ input, output }: Terminal): boolean => input.isTTY === true && output.isTTY === true

/** Asks for yes or no. Anything but a yes is none, and so is the end of the input. */
export const ask = async ({ input, output }: Terminal, question: string): Promise<boolean> => {
  const lines = createInterface({ input, output })
  const end = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
  try {
    const answer = await Promise.race([lines.question(`${question} [y/N] `), end])
    return /^\s*y(es)?\s*$/i.test(answer)
  } finally {
    lines.close()
  }
}
