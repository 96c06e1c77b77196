'use strict'
// JavaScript peers around a blind relay: the relay itself, and end points behind a claimed NAT that only the relay, or
// punching, gets through. Written against the public APIs of `hyperdht` and `blind-relay`; needs both in NODE_PATH.
// One JSON object a line on standard output.
//
//   node relay.js relay BOOTSTRAP SEED
//   node relay.js listen BOOTSTRAP SEED RELAY|- [punch|late]  echoes; RELAY is its own relayThrough
//   node relay.js connect BOOTSTRAP KEY RELAY|- [punch|late]  sends a message every 200 ms, expects the echo, ends after STAY
//
// With `late` instead of `punch` the peer takes no part in punching for two seconds, so that the relay is first and the
// connection has to move.
//
// STAY (environment, milliseconds, default 1000): how long the connecting side stays.
const DHT = require('hyperdht')
const { Server } = require('blind-relay')

const say = (object) => console.log(JSON.stringify(object))
const hex = (text) => Buffer.from(text, 'hex')
const [command, entry, subject, relay, punch] = process.argv.slice(2)
const [host, port] = entry.split(':')
const isRelay = command === 'relay'
const dht = new DHT({
  bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1', quickFirewall: false, ephemeral: true,
  firewalled: !isRelay
})
const relayThrough = !relay || relay === '-' ? null : hex(relay)

if (punch === 'late') {
  const Holepuncher = require('hyperdht/lib/holepuncher')
  const { _punch: start, _onholepunchmessage: probe } = Holepuncher.prototype
  let opened = null
  const gate = () => {
    if (!opened) {
      opened = new Promise((resolve) => setTimeout(() => { opened.done = true; resolve() }, 2000))
      opened.done = false
    }
    return opened
  }
  Holepuncher.prototype._punch = async function () {
    await gate()
    return start.call(this)
  }
  Holepuncher.prototype._onholepunchmessage = function (...args) {
    if (gate().done) return probe.apply(this, args)
  }
}

async function serveRelay () {
  const blind = new Server({ createStream: (options) => dht.createRawStream({ ...options, framed: true }) })
  let sessions = 0
  const server = dht.createServer((stream) => {
    sessions++
    stream.on('error', () => {})
    stream.on('close', () => {
      say({ event: 'session-closed', left: --sessions, matched: blind.stats.pairings.matched })
    })
    const session = blind.accept(stream, { id: stream.remotePublicKey })
    session.on('error', (error) => say({ event: 'session-error', message: error.message }))
    session.on('pair', (isInitiator) => say({ event: 'pair', isInitiator }))
  })
  await server.listen(DHT.keyPair(hex(subject)))
  say({ event: 'ready', publicKey: server.publicKey.toString('hex') })
}

async function listen () {
  const options = { shareLocalAddress: false, relayThrough }
  if (!punch) options.holepunch = () => false
  const server = dht.createServer(options, (stream) => {
    stream.on('error', (error) => say({ event: 'error', code: error.code }))
    stream.on('end', () => stream.end())
    stream.on('close', () => say({ event: 'close', remotePort: stream.rawStream.remotePort, relaying: dht.stats.relaying }))
    stream.on('data', (data) => stream.write(data))
    say({ event: 'connection' })
  })
  await server.listen(DHT.keyPair(hex(subject)))
  say({ event: 'ready', publicKey: server.publicKey.toString('hex') })
}

function connect () {
  const options = { localConnection: false }
  if (relayThrough) options.relayThrough = relayThrough
  if (!punch) options.holepunch = () => false
  const stream = dht.connect(hex(subject), options)
  let sent = 0
  let echoed = 0
  stream.on('error', (error) => say({ event: 'error', code: error.code }))
  stream.on('close', () => say({ event: 'close', sent, echoed }))
  stream.on('data', () => say({ event: 'echo', count: ++echoed, remotePort: stream.rawStream.remotePort }))
  const timer = setInterval(() => stream.write('over the relay ' + ++sent), 200)
  setTimeout(() => {
    clearInterval(timer)
    stream.end()
  }, Number(process.env.STAY || 1000))
}

const run = { relay: serveRelay, listen, connect }[command]
Promise.resolve().then(run).catch((error) => say({ event: 'fatal', message: error.message }))
