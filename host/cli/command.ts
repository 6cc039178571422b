/** What a command of the command line is, and how it ends when it cannot be done. */

export interface Command {
  /** What follows its name: `<folder>`. */
  readonly operands: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Its flags, by their names without `--`. */
  readonly flags: Readonly<Record<string, Flag>>
  /**
   * Does it, and says with which exit code it ends, if that is not 0. Throws {@link UsageError} for what was asked in a wrong
   * way, {@link Failure} for what cannot be done, {@link Interrupted} for what was ended from outside.
   */
  readonly run: (asked: Asked) => number | void | Promise<number | void>
}

export interface Flag {
  /** What its value is called in the help, `<release>`; a flag without one has no value. */
  readonly value?: string
  readonly help: string
}

/** What stands behind a command's name, parsed. */
export interface Asked {
  readonly operands: readonly string[]
  /** The flags that were given: a text, or `true` for one without a value. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>
}

/** It was asked in a wrong way: exit code 2, and a pointer to the help. */
export class UsageError extends Error {}

/** It cannot be done: exit code 1. The message is for the user, and says what to change. */
export class Failure extends Error {}

/** Somebody has ended it, as by Ctrl-C: exit code 130. The message says what was done by then, and what goes on. */
export class Interrupted extends Error {}
