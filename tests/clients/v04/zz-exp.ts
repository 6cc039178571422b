import { FakeServer } from '../fake-server.ts'
import { spawn } from 'node:child_process'
const delay = (ms:number)=>new Promise(r=>setTimeout(r,ms))
const one = async (n:number, how:string) => {
  const f = await FakeServer.start()
  const c = spawn(process.execPath,[new URL('./zz-child.ts',import.meta.url).pathname,f.url],{stdio:['ignore','pipe','ignore']})
  let rows=-1; c.stdout.on('data',(d)=>{rows=+String(d).trim().split('\n').at(-1)!})
  while(f.subscriptions<1) await delay(5)
  await delay(500)
  c.kill('SIGSTOP')
  await delay(100)
  for(let i=0;i<n;i++) f.append('v1.TodoCreated',{id:'i'+i,text:'x'})
  await delay(200); if (how==='close') f.closeAll(1012); else f.dropAll(); await delay(100)
  c.kill('SIGCONT')
  const t=Date.now(); 
  while (rows<n && Date.now()-t<12000) await delay(100)
  await delay(3000)
  f.append('v1.TodoCreated',{id:'last',text:'x'})
  await delay(2000)
  const r=rows===n+1?'ok':`${rows}/${n+1} conns ${f.connections} pulls ${f.pulls.map(p=>p.cursor)}`
  c.kill('SIGKILL'); await f.stop()
  return r
}
for (const how of ['close','drop']) for (const n of [1,8,16,17,20,32,64,150,300]) { const rs=[]; for (let k=0;k<2;k++) rs.push(...await Promise.all([one(n,how),one(n,how),one(n,how)])); console.log(how,n,JSON.stringify(rs)) }
