// SPDX-License-Identifier: Apache-2.0
// Keyrest as Node's fetch sees it: fetch.mjs URL. Ends with an assertion when it is otherwise.
import assert from 'node:assert/strict';

const url = process.argv[2];
const ask = (method, path, options = {}) =>
  fetch(url + path, { method, signal: AbortSignal.timeout(20000), ...options });
const text = async (answer) => [answer.status, await answer.text()];

async function keepsBytes() {
  const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const made = await ask('PUT', '/keys/node/a%2Fb?ttl=1h', { body: everyByte, headers: { 'content-type': 'image/x-test' } });
  assert.equal(made.status, 201);
  assert.equal(made.headers.get('location'), '/keys/node/a/b');
  assert.ok(Date.parse(made.headers.get('keyrest-expires')) > Date.now());
  const read = await ask('GET', made.headers.get('location'));
  assert.equal(read.headers.get('content-type'), 'image/x-test');
  assert.equal(read.headers.get('etag'), made.headers.get('etag'));
  assert.deepEqual(new Uint8Array(await read.arrayBuffer()), everyByte);
  const head = await ask('HEAD', '/keys/node/a/b');
  assert.equal(head.headers.get('content-length'), '256');
}

async function judgesConditions() {
  const headers = { 'if-none-match': '*' };
  const racers = await Promise.all(Array.from({ length: 20 }, (_, i) =>
    ask('PUT', '/keys/node/race', { body: String(i), headers })));
  assert.equal(racers.filter((answer) => answer.status === 201).length, 1);
  assert.equal(racers.filter((answer) => answer.status === 412).length, 19);
  const etag = racers.find((answer) => answer.status === 201).headers.get('etag');
  const problem = await racers.find((answer) => answer.status === 412).json();
  assert.deepEqual([problem.code, problem.etag], ['precondition-failed', etag]);
  const same = await ask('GET', '/keys/node/race', { headers: { 'if-none-match': etag } });
  assert.deepEqual(await text(same), [304, '']);
}

async function streams() {
  const piece = new Uint8Array(64 << 10).fill(110);
  let left = 64;
  const body = new ReadableStream({
    pull(controller) { left-- > 0 ? controller.enqueue(piece) : controller.close(); },
  });
  assert.equal((await ask('PUT', '/keys/node/large', { body, duplex: 'half' })).status, 201);
  let received = 0;
  for await (const part of (await ask('GET', '/keys/node/large')).body) received += part.length;
  assert.equal(received, 64 * piece.length);
  const part = await ask('GET', '/keys/node/large', { headers: { range: 'bytes=4194300-' } });
  assert.deepEqual([...await text(part), part.headers.get('content-range')], [206, 'nnnn', 'bytes 4194300-4194303/4194304']);
  const given = new AbortController();
  await ask('GET', '/keys/node/large', { signal: given.signal });
  given.abort(); // and goes away with the body under way
  assert.equal((await ask('GET', '/livez')).status, 200);
}

async function listsAndBatches() {
  const ops = [{ op: 'put', key: 'node/ü', json: { n: 1 } }, { op: 'put', key: 'node/z', value: 'z' }];
  const batch = await ask('POST', '/batch', { body: JSON.stringify({ ops }), headers: { 'content-type': 'application/json' } });
  assert.deepEqual((await batch.json()).results.map((result) => result.status), [201, 201]);
  const { items } = await (await ask('GET', '/keys?prefix=node/&fields=key')).json();
  assert.deepEqual(items.map((item) => item.key), ['node/a/b', 'node/large', 'node/race', 'node/z', 'node/ü']);
  assert.deepEqual(await (await ask('GET', items.at(-1).href)).json(), { n: 1 });
  for (const { href } of items) assert.equal((await ask('DELETE', href)).status, 204);
  assert.equal((await ask('GET', '/keys/node/z')).status, 404);
}

await keepsBytes();
await judgesConditions();
await streams();
await listsAndBatches();
