'use strict'
// The JavaScript side of the programs in Examples, written against the public APIs of `hyperswarm`, `hyperdht` and
// `protomux`, which NODE_PATH has to have. One JSON object a line on standard output. BOOTSTRAP is host:port.
//
//   node javascript.js BOOTSTRAP room TEXT                 joins the topic that is the hash of the text; each line of
//                                                          standard input goes to all; ends with standard input
//   node javascript.js BOOTSTRAP serve SEED [KEY...]       answers each message with itself; admits these keys only
//   node javascript.js BOOTSTRAP call KEY SEED TEXT        says the text, ends, and prints what comes back
//   node javascript.js BOOTSTRAP offer TEXT SIZE           a stream of so many bytes, and a last message with that
//   node javascript.js BOOTSTRAP fetch KEY                 reads such a stream
//   node javascript.js BOOTSTRAP pages SIZE                answers each stream as a web server with a page of that size
//   node javascript.js BOOTSTRAP page KEY                  asks such a server
//   node javascript.js BOOTSTRAP put SEED NAME VALUE       the store of Examples/Swift KeyValue
//   node javascript.js BOOTSTRAP get KEY NAME
//   node javascript.js BOOTSTRAP todo TEXT                 the protocol of Examples/Protomux; a line is an item
//   node javascript.js BOOTSTRAP receive KEY               the protocol of Examples/C/file.c, either side
//   node javascript.js BOOTSTRAP send TEXT SIZE
//   node javascript.js BOOTSTRAP shout                     the protocols of Examples/C/channels.c, either side
//   node javascript.js BOOTSTRAP ask KEY LINE...
const crypto = require('crypto')
const readline = require('readline')
const Hyperswarm = require('hyperswarm')
const DHT = require('hyperdht')
const Protomux = require('protomux')
const c = require('compact-encoding')

const [entry, command, ...words] = process.argv.slice(2)
const [host, port] = entry.split(':')
const bootstrap = [{ host, port: Number(port) }]
const say = (event, more) => console.log(JSON.stringify({ event, ...more }))
const hash = (text) => DHT.hash(Buffer.from(text))
const keyPair = (text) => DHT.keyPair(hash(text))
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')
const node = () => new DHT({ bootstrap, host: '127.0.0.1' })
const lines = () => readline.createInterface({ input: process.stdin })
const hex = (key) => key.toString('hex')
// No id is an empty one: compact-encoding 3 does not take `null`.
const none = Buffer.alloc(0)
const quiet = (stream) => stream.on('error', (error) => say('broken', { code: error.code || error.message }))

// All messages until the other side ends.
const all = (stream) => new Promise((resolve, reject) => {
  const messages = []
  stream.on('data', (message) => messages.push(message))
  stream.on('end', () => resolve(messages))
  stream.on('error', reject)
})

async function swarmOf (text, each) {
  const swarm = new Hyperswarm({ bootstrap })
  const open = new Set()
  swarm.on('connection', (connection) => {
    quiet(connection)
    open.add(connection)
    say('open', { key: hex(connection.remotePublicKey) })
    connection.on('close', () => { open.delete(connection); say('gone') })
    connection.on('end', () => connection.end())
    each(connection)
  })
  await swarm.join(hash(text)).flushed()
  say('ready', { key: hex(swarm.keyPair.publicKey) })
  return { swarm, open }
}

async function listen (pair, each, options = {}) {
  const server = node().createServer(options, (connection) => { quiet(connection); each(connection) })
  await server.listen(pair)
  say('ready', { key: hex(server.publicKey) })
}

async function record (dht, pair, change) {
  const old = await dht.mutableGet(pair.publicKey)
  const value = Buffer.from(change(old ? old.value.toString() : ''))
  await dht.mutablePut(pair, value, { seq: (old ? old.seq : 0) + 1 })
}

const commands = {
  async room (text) {
    const { swarm, open } = await swarmOf(text, (connection) => {
      connection.on('data', (message) => say('message', { text: message.toString() }))
    })
    for await (const line of lines()) for (const connection of open) connection.write(line)
    for (const connection of open) connection.end()
    await swarm.destroy()
  },
  serve: (seed, ...allowed) => listen(keyPair(seed), (connection) => connection.pipe(connection), {
    firewall: (key) => allowed.length > 0 && !allowed.includes(hex(key))
  }),
  async call (key, seed, text) {
    const connection = node().connect(key, { keyPair: keyPair(seed) })
    connection.write(text)
    connection.end()
    say('answer', { text: Buffer.concat(await all(connection)).toString() })
  },
  offer: (text, size) => listen(undefined, (connection) => {
    const bytes = Buffer.alloc(Number(size), text)
    for (let at = 0; at < bytes.length; at += 65536) connection.write(bytes.subarray(at, at + 65536))
    connection.end(`${bytes.length} bytes`)
  }),
  async fetch (key) {
    const messages = await all(node().connect(key))
    const last = messages.pop().toString()
    const bytes = Buffer.concat(messages)
    say('file', { isWhole: last === `${bytes.length} bytes`, sha256: sha256(bytes) })
  },
  pages: (size) => listen(undefined, (connection) => connection.once('data', () => {
    connection.end(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n${'y'.repeat(Number(size))}`)
  })),
  async page (key) {
    const connection = node().connect(key)
    connection.write('GET /page HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n')
    const text = Buffer.concat(await all(connection)).toString()
    const at = text.indexOf('\r\n\r\n')
    say('page', { head: text.slice(0, text.indexOf('\r\n')), sha256: sha256(text.slice(at + 4)) })
  },
  async put (seed, name, value) {
    const dht = node()
    const [owner, entry] = [keyPair(`${seed}/`), keyPair(`${seed}/${name}`)]
    await record(dht, entry, () => value)
    await record(dht, owner, (index) => {
      const names = new Set(index.split('\n').filter((line) => line))
      return [...names.add(`${name}=${hex(entry.publicKey)}`)].sort().join('\n')
    })
    say('done', { key: hex(owner.publicKey) })
  },
  async get (key, name) {
    const dht = node()
    const { decode } = require('hypercore-id-encoding')
    const index = (await dht.mutableGet(decode(key))).value.toString()
    const line = index.split('\n').find((line) => line.startsWith(`${name}=`))
    say('value', { text: (await dht.mutableGet(decode(line.slice(name.length + 1)))).value.toString() })
  },
  async todo (text) {
    const peers = new Set()
    const { swarm } = await swarmOf(text, (connection) => {
      const channel = Protomux.from(connection).createChannel({
        protocol: 'todo/1',
        id: none,
        handshake: c.json,
        onopen: (hello) => { peers.add(peer); say('hello', hello) },
        onclose: () => peers.delete(peer)
      })
      const peer = {
        item: channel.addMessage({ encoding: c.json, onmessage: (item) => say('item', item) }),
        done: channel.addMessage({ encoding: c.string, onmessage: (text) => say('finished', { text }) })
      }
      channel.open({ name: 'node', count: 0 })
    })
    const items = new Set()
    for await (const line of lines()) {
      for (const peer of peers) {
        if (items.has(line)) peer.done.send(line)
        else peer.item.send({ text: line, isDone: false })
      }
      items.add(line)
    }
    await swarm.destroy()
  },
  async receive (key) {
    const connection = node().connect(key)
    const parts = []
    let size = 0n
    let received = 0
    connection.on('data', (message) => {
      if (parts.push(message) === 1) size = message.readBigUInt64LE()
      else received += message.length
      if (BigInt(received) === size) connection.end('done')
    })
    await new Promise((resolve) => connection.on('close', resolve).on('error', resolve))
    say('file', { isWhole: BigInt(received) === size, sha256: sha256(Buffer.concat(parts.slice(1))) })
  },
  send: (text, size) => listen(undefined, (connection) => {
    const bytes = Buffer.alloc(Number(size), text)
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(size))
    connection.write(head)
    for (let at = 0; at < bytes.length; at += 65536) connection.write(bytes.subarray(at, at + 65536))
    connection.on('data', (message) => say('message', { text: message.toString() }))
    connection.end()
  }),
  shout: () => listen(undefined, (connection) => {
    const mux = Protomux.from(connection)
    let count = 0
    mux.pair({ protocol: 'shout/1', id: none }, () => {
      const channel = mux.createChannel({ protocol: 'shout/1', id: none })
      const line = channel.addMessage({
        encoding: c.raw,
        onmessage: (text) => { count++; line.send(Buffer.from(text.toString().toUpperCase())) }
      })
      channel.open()
    })
    mux.pair({ protocol: 'count/1', id: none }, () => {
      const channel = mux.createChannel({ protocol: 'count/1', id: none })
      channel.addMessage({ encoding: c.raw, onmessage: () => tell.send(Buffer.from(String(count))) })
      const tell = channel.addMessage({ encoding: c.raw })
      channel.open()
    })
  }),
  async ask (key, ...texts) {
    const connection = node().connect(key)
    quiet(connection)
    const mux = Protomux.from(connection)
    const shouted = []
    await new Promise((resolve) => {
      const channel = mux.createChannel({ protocol: 'shout/1', id: none })
      const line = channel.addMessage({
        encoding: c.raw,
        onmessage: (text) => { if (shouted.push(text.toString()) === texts.length) resolve() }
      })
      channel.open()
      for (const text of texts) line.send(Buffer.from(text))
    })
    const count = await new Promise((resolve) => {
      const channel = mux.createChannel({ protocol: 'count/1', id: none })
      const ask = channel.addMessage({ encoding: c.raw })
      channel.addMessage({ encoding: c.raw, onmessage: (text) => resolve(text.toString()) })
      channel.open()
      ask.send(Buffer.alloc(0))
    })
    say('shouted', { text: shouted.join(''), count })
    connection.end()
  }
}

commands[command](...words).then(() => say('done')).catch((error) => {
  say('failed', { code: error.code || error.message })
})
