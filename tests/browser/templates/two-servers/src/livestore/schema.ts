export { schema } from '../shared/schema.ts'
