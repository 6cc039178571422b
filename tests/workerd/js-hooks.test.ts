/** The same of hooks in JavaScript as of those in Rust. */
import { HookListener } from './hook-listener.ts'

HookListener.language = 'javascript'
await import('./hooks.test.ts')
