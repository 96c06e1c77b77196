'use strict'
// A JavaScript peer with channels on an encrypted connection. Written against the public APIs of `hyperdht` and
// `protomux`; needs both in NODE_PATH. One JSON object a line on standard output.
//
//   node protomux.js answer BOOTSTRAP SEED   listens, and does on each connection what `ProtomuxConversation.answer` does
//   node protomux.js ask BOOTSTRAP KEY       connects, and does what `ProtomuxConversation.ask` does
const DHT = require('hyperdht')
const Protomux = require('protomux')
const c = require('compact-encoding')

const say = (object) => console.log(JSON.stringify(object))
const bytes = (text) => Buffer.from(text)
const none = Buffer.alloc(0)
const [role, entry, subject] = process.argv.slice(2)
const [host, port] = entry.split(':')
const dht = new DHT({ bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1', ephemeral: true })
const MANY = 300

function answer (mux) {
  const echo = (id) => {
    const channel = mux.createChannel({ protocol: 'echo', id, handshake: c.string })
    const text = channel.addMessage({ encoding: c.string, onmessage: (value) => text.send(value.toUpperCase()) })
    const object = channel.addMessage({ encoding: c.json, onmessage: ({ n }) => object.send({ n: n + 1 }) })
    const raw = channel.addMessage({ encoding: c.raw, onmessage: (value) => raw.send(value) })
    channel.open('hello from the answering side')
  }
  mux.pair({ protocol: 'echo', id: none }, echo)
  mux.pair({ protocol: 'many', id: none }, (id) => {
    const channel = mux.createChannel({ protocol: 'many', id })
    const number = channel.addMessage({ encoding: c.uint, onmessage: (value) => number.send(value * 2) })
    channel.addMessage({ encoding: c.bool, onmessage: () => channel.close() })
    channel.open()
  })
  // The program takes its time: messages wait.
  mux.pair({ protocol: 'bulk', id: none }, async (id) => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    let count = 0
    const channel = mux.createChannel({ protocol: 'bulk', id })
    channel.addMessage({ encoding: c.raw, onmessage: (value) => { count += value.length } })
    const end = channel.addMessage({ encoding: c.uint, onmessage: () => end.send(count) })
    channel.open()
  })
  const fresh = mux.createChannel({ protocol: 'fresh/2', id: none, aliases: ['fresh/1'] })
  const text = fresh.addMessage({ encoding: c.string, onmessage: (value) => text.send(value + '!') })
  fresh.open()
}

class Asked {
  constructor (mux, options, encodings, handshake) {
    this.channel = mux.createChannel({ ...options, handshake: handshake === undefined ? null : c.string })
    this.waiting = encodings.map(() => [])
    this.arrived = encodings.map(() => [])
    this.messages = encodings.map((encoding, type) => this.channel.addMessage({
      encoding,
      onmessage: (value) => {
        const next = this.waiting[type].shift()
        if (next) next(value)
        else this.arrived[type].push(value)
      }
    }))
    this.channel.open(handshake)
  }

  send (type, value) { return this.messages[type].send(value) }

  next (type) {
    return this.arrived[type].length ? this.arrived[type].shift() : new Promise((resolve) => this.waiting[type].push(resolve))
  }
}

function expect (what, got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(got)}`)
}

async function ask (mux) {
  const fresh = new Asked(mux, { protocol: 'fresh/1', id: none, aliases: ['fresh/2'] }, [c.string])
  const unknown = new Asked(mux, { protocol: 'unknown', id: none }, [c.raw])
  const echo = new Asked(mux, { protocol: 'echo', id: bytes('one') }, [c.string, c.json, c.raw], 'hello from the asking side')
  echo.send(0, 'before it is open')
  expect('unknown', await unknown.channel.fullyOpened(), false)
  expect('echo', await echo.channel.fullyOpened(), true)
  expect('handshake', echo.channel.handshake, 'hello from the answering side')
  expect('early', await echo.next(0), 'BEFORE IT IS OPEN')
  echo.send(1, { n: 41 })
  expect('json', await echo.next(1), { n: 42 })
  const large = Buffer.alloc(300_000, 7)
  echo.send(2, large)
  expect('large', large.equals(await echo.next(2)), true)
  expect('fresh', await fresh.channel.fullyOpened(), true)
  fresh.send(0, 'alias')
  expect('alias', await fresh.next(0), 'alias!')

  for (let round = 0; round < 2; round++) {
    mux.cork()
    const many = []
    for (let index = 0; index < MANY; index++) {
      many.push(new Asked(mux, { protocol: 'many', id: Buffer.from([index >> 8, index & 255]) }, [c.uint, c.bool]))
      many[index].send(0, index)
    }
    mux.uncork()
    for (let index = 0; index < MANY; index++) expect('many ' + index, await many[index].next(0), index * 2)
    for (let index = 0; index < MANY; index++) {
      if (index % 2) many[index].channel.close()
      else many[index].send(1, true)
    }
    await Promise.all(many.map((one) => one.channel.fullyClosed()))
  }

  const bulk = new Asked(mux, { protocol: 'bulk', id: bytes('b') }, [c.raw, c.uint])
  for (let index = 0; index < 500; index++) {
    if (!bulk.send(0, Buffer.alloc(10_000, index & 255))) await new Promise((resolve) => mux.stream.once('drain', resolve))
  }
  bulk.send(1, 0)
  expect('bulk', await bulk.next(1), 5_000_000)
}

async function main () {
  if (role === 'answer') {
    const server = dht.createServer((stream) => {
      stream.on('error', () => {})
      stream.on('close', () => say({ event: 'closed' }))
      answer(new Protomux(stream))
    })
    await server.listen(DHT.keyPair(Buffer.from(subject, 'hex')))
    say({ event: 'listening', key: server.publicKey.toString('hex') })
  } else {
    const stream = dht.connect(Buffer.from(subject, 'hex'))
    stream.on('error', (error) => say({ event: 'error', message: error.message }))
    const mux = new Protomux(stream)
    await ask(mux)
    say({ event: 'done' })
    stream.end()
  }
}
main().catch((error) => say({ event: 'error', message: error.message }))
