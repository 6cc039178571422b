import { openTodoStore } from './store.ts'
const s = await openTodoStore({url:process.argv[2]!,storeId:'s',clientId:'c',payload:{authToken:'x'}})
let last=-1
setInterval(()=>{ const n=s.todos().length; if(n!==last){last=n; console.log(n)} },20)
