'use strict'
// A JavaScript peer for interoperability tests, written against the public API of `hyperswarm` and `hyperdht`.
// It needs those packages in NODE_PATH; see README.md in this folder. One JSON object a line on standard output.
//
//   node peer.js testnet SIZE
//   node peer.js node BOOTSTRAP
//   node peer.js swarm BOOTSTRAP TOPIC server|client|both [BYTES]
//   node peer.js pair BOOTSTRAP TOPIC SEED
//   node peer.js listen BOOTSTRAP SEED
//   node peer.js connect BOOTSTRAP KEY [BYTES]
//   node peer.js lookup BOOTSTRAP TOPIC
//   node peer.js announce BOOTSTRAP TOPIC SEED
//   node peer.js findpeer BOOTSTRAP KEY
//   node peer.js put BOOTSTRAP TEXT
//   node peer.js get BOOTSTRAP HASH
//
// BOOTSTRAP is host:port[,host:port]. A dialling peer with BYTES sends that many pseudo-random bytes, ends, and expects
// the other side to answer with the hash of what it received; an accepting peer answers so. A pair dials whoever dials
// it, at that very moment, and writes a line on every connection.
const crypto = require('crypto')
const Hyperswarm = require('hyperswarm')
const DHT = require('hyperdht')
const createTestnet = require('hyperdht/testnet')

const say = (object) => console.log(JSON.stringify(object))
const bootstrapOf = (text) => text.split(',').map((part) => {
  const [host, port] = part.split(':')
  return { host, port: Number(port) }
})
const hex = (text) => Buffer.from(text, 'hex')

function payload (count) {
  const out = Buffer.alloc(count)
  let state = 1
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    out[i] = state >>> 24
  }
  return out
}

const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')

// Accepting side: hash everything until the other side ends, then answer with the digest and end.
function answer (stream) {
  const hash = crypto.createHash('sha256')
  let count = 0
  stream.on('data', (chunk) => { hash.update(chunk); count += chunk.length })
  stream.on('end', () => {
    const sum = hash.digest('hex')
    say({ event: 'received', bytes: count, sha256: sum, remote: stream.remotePublicKey.toString('hex') })
    stream.end(sum)
  })
  stream.on('error', (error) => say({ event: 'error', code: error.code, message: error.message }))
  stream.on('close', () => say({ event: 'close' }))
}

// Dialling side: send, end, compare the answer.
function ask (stream, count) {
  const bytes = payload(count)
  let reply = ''
  const started = Date.now()
  stream.on('data', (chunk) => { reply += chunk })
  stream.on('error', (error) => say({ event: 'error', code: error.code, message: error.message }))
  stream.on('close', () => {
    say({ event: 'answered', ok: reply === digest(bytes), bytes: count, milliseconds: Date.now() - started })
    if (process.env.PEER_ONCE) process.exit(reply === digest(bytes) ? 0 : 1)
  })
  let offset = 0
  const more = () => {
    while (offset < bytes.length) {
      const next = Math.min(offset + 65536, bytes.length)
      const room = stream.write(bytes.subarray(offset, next))
      offset = next
      if (!room) return stream.once('drain', more)
    }
    stream.end()
  }
  more() // writes made before the stream opens are queued
}

async function main () {
  const [command, ...args] = process.argv.slice(2)
  if (command === 'testnet') {
    const net = await createTestnet(Number(args[0] || 5), { host: '127.0.0.1', port: 0 })
    say({ event: 'ready', bootstrap: net.bootstrap.map((n) => `${n.host}:${n.port}`).join(','),
      nodes: net.nodes.map((n) => n.address().port) })
    return
  }
  const bootstrap = bootstrapOf(args[0])
  if (command === 'node') {
    const dht = new DHT({ bootstrap, ephemeral: false, firewalled: false, host: '127.0.0.1', port: 0 })
    await dht.fullyBootstrapped()
    say({ event: 'ready', port: dht.address().port, persistent: !dht.ephemeral })
  } else if (command === 'swarm') {
    const swarm = new Hyperswarm({ bootstrap, seed: args[4] ? hex(args[4]) : undefined })
    const count = Number(args[3] || 0)
    const role = args[2]
    swarm.on('connection', (stream, info) => {
      say({ event: 'connection', initiator: stream.isInitiator, remote: stream.remotePublicKey.toString('hex'),
        topics: info.topics.map((t) => t.toString('hex')) })
      if (role === 'client' || (role === 'both' && stream.isInitiator)) {
        if (count) ask(stream, count)
        else stream.on('error', () => {})
      } else answer(stream)
    })
    const discovery = swarm.join(hex(args[1]), { server: role !== 'client', client: role !== 'server' })
    await discovery.flushed()
    say({ event: 'ready', publicKey: swarm.keyPair.publicKey.toString('hex') })
  } else if (command === 'pair') {
    const dialling = new Set()
    const swarm = new Hyperswarm({
      bootstrap,
      seed: hex(args[2]),
      firewall (key) {
        const remote = key.toString('hex')
        if (!dialling.has(remote)) {
          dialling.add(remote)
          say({ event: 'dialling', remote })
          swarm.joinPeer(key)
        }
        return false
      }
    })
    let connections = 0
    swarm.on('connection', (stream) => {
      const number = ++connections
      say({ event: 'connection', number, initiator: stream.isInitiator })
      stream.on('error', (error) => say({ event: 'error', number, code: error.code, message: error.message }))
      stream.on('close', () => say({ event: 'close', number }))
      stream.on('data', () => {})
      stream.write(`line of ${number}\n`)
    })
    await swarm.join(hex(args[1]), { client: false }).flushed()
    say({ event: 'ready', publicKey: swarm.keyPair.publicKey.toString('hex') })
  } else if (command === 'listen') {
    const dht = new DHT({ bootstrap })
    const server = dht.createServer(answer)
    await server.listen(DHT.keyPair(hex(args[1])))
    say({ event: 'ready', publicKey: server.publicKey.toString('hex') })
  } else if (command === 'connect') {
    const dht = new DHT({ bootstrap })
    ask(dht.connect(hex(args[1])), Number(args[2] || 0))
  } else if (command === 'lookup') {
    const dht = new DHT({ bootstrap })
    const peers = new Set()
    for await (const item of dht.lookup(hex(args[1]))) {
      for (const peer of item.peers) peers.add(peer.publicKey.toString('hex'))
    }
    say({ event: 'done', peers: [...peers] })
    await dht.destroy()
  } else if (command === 'announce') {
    const dht = new DHT({ bootstrap })
    const keyPair = DHT.keyPair(hex(args[2]))
    await dht.announce(hex(args[1]), keyPair, []).finished()
    say({ event: 'done', publicKey: keyPair.publicKey.toString('hex') })
    await dht.destroy()
  } else if (command === 'findpeer') {
    const dht = new DHT({ bootstrap })
    let found = 0
    for await (const item of dht.findPeer(hex(args[1]))) found += item.peer ? 1 : 0
    say({ event: 'done', found })
    await dht.destroy()
  } else if (command === 'put') {
    const dht = new DHT({ bootstrap })
    const { hash } = await dht.immutablePut(Buffer.from(args[1]))
    say({ event: 'done', hash: hash.toString('hex') })
    await dht.destroy()
  } else if (command === 'get') {
    const dht = new DHT({ bootstrap })
    const { decode } = require('hypercore-id-encoding')
    const found = await dht.immutableGet(decode(args[1]))
    say({ event: 'done', value: found && found.value.toString() })
    await dht.destroy()
  } else {
    say({ event: 'usage', message: 'unknown command' })
    process.exit(64)
  }
}

main().catch((error) => {
  say({ event: 'fatal', message: error.message })
  process.exit(1)
})
