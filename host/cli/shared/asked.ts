/** Reading what stands behind a command's name. */
import { type Asked, UsageError } from '../command.ts'

/** The one store that a command is about. Others are operands that follow it, if the command takes any. */
export const storeOf = (name: string, { operands }: Asked, further = 0): string => {
  const [storeId] = operands
  if (storeId === undefined || storeId === '') throw new UsageError(`${name}: which store?`)
  if (storeId === '.' || storeId === '..') throw new UsageError(`${name}: a URL cannot hold the id '${storeId}'`)
  const more = operands[1 + further]
  if (more !== undefined)
    throw new UsageError(`${name}: '${more}' is one too many. An id with spaces stands in quotation marks`)
  return storeId
}

/** Throws if there are operands. */
export const noOperands = (name: string, { operands: [first] }: Asked): void => {
  if (first !== undefined) throw new UsageError(`${name}: it takes flags alone, not '${first}'`)
}

/** The text of a flag, `undefined` if it is not given. */
export const textOf = (name: string, { flags }: Asked, flag: string): string | undefined => {
  const value = flags[flag]
  if (value === '') throw new UsageError(`${name}: --${flag} is empty`)
  return typeof value === 'string' ? value : undefined
}

/** The integer of a flag, from `least` on. */
export const integerOf = (name: string, asked: Asked, flag: string, least = 0): number | undefined => {
  const text = textOf(name, asked, flag)
  if (text === undefined) return undefined
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least)
    throw new UsageError(`${name}: --${flag} is an integer from ${least} on, not '${text}'`)
  return value
}

const secondsPer = { s: 1, m: 60, h: 3_600, d: 86_400 } as const

/** The seconds of a flag such as `90s`, `15m`, `1h` or `7d`. */
export const secondsOf = (name: string, asked: Asked, flag: string): number | undefined => {
  const text = textOf(name, asked, flag)
  if (text === undefined) return undefined
  const [, amount, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? []
  if (amount === undefined)
    throw new UsageError(`${name}: --${flag} is a time such as 90s, 15m, 1h or 7d, not '${text}'`)
  return Number(amount) * secondsPer[unit as keyof typeof secondsPer]
}

/** Which of these a flag says. */
export const oneOf = <T extends string>(
  name: string,
  asked: Asked,
  flag: string,
  choices: readonly T[],
): T | undefined => {
  const text = textOf(name, asked, flag)
  if (text === undefined) return undefined
  const choice = choices.find((one) => one === text)
  if (choice === undefined) throw new UsageError(`${name}: --${flag} is ${choices.join(' or ')}, not '${text}'`)
  return choice
}
