// SPDX-License-Identifier: Apache-2.0
// The feed as npm's eventsource sees it: eventsource.mjs PORT-FILE COUNT. Connects by a proxy of its own,
// whose address stays while the service behind it, at the port that the file holds, may come and go. Prints
// "OP KEY" for each event, and ends after COUNT of them; badly, when an id came twice.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const EventSource = createRequire(`${process.cwd()}/build/clients/`)('eventsource');
const [portFile, count] = process.argv.slice(2);

const proxy = createServer((near) => {
  const far = connect(Number(readFileSync(portFile, 'utf8')), '127.0.0.1');
  for (const [from, to] of [[near, far], [far, near]])
    from.on('error', () => to.destroy()).on('close', () => to.destroy()).pipe(to);
});

const ids = new Set();
function tell(event) {
  const { op, key } = JSON.parse(event.data);
  if (op !== event.type || ids.has(event.lastEventId)) {
    console.log(`${event.type} ${event.lastEventId}: not what was to come`);
    process.exit(1);
  }
  ids.add(event.lastEventId);
  console.log(`${op} ${key}`);
  if (ids.size === Number(count)) process.exit(0);
}

proxy.listen(0, '127.0.0.1', () => {
  const source = new EventSource(`http://127.0.0.1:${proxy.address().port}/changes?since=0`);
  source.addEventListener('put', tell);
  source.addEventListener('delete', tell);
});
setTimeout(() => process.exit(2), 60000);
