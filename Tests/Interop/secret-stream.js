'use strict'
// A JavaScript peer of a secret stream over TCP or UDX. Written against the public APIs of `@hyperswarm/secret-stream`
// and `udx-native`; needs both in NODE_PATH. One JSON object a line on standard output.
//
//   node secret-stream.js tcp PORT ROLE PATTERN [REMOTE-KEY]   connects to 127.0.0.1:PORT
//   node secret-stream.js udx PORT ROLE PATTERN [REMOTE-KEY]   stream 2, with the peer's stream 1 at 127.0.0.1:PORT
//
// ROLE is initiator or responder. It greets, sends back what arrives (datagrams, too), and ends when the peer has ended.
const NoiseSecretStream = require('@hyperswarm/secret-stream')
const net = require('net')
const UDX = require('udx-native')

const say = (object) => console.log(JSON.stringify(object))
const [carrier, port, role, pattern, remote] = process.argv.slice(2)
const keyPair = NoiseSecretStream.keyPair(Buffer.alloc(32, 9))

function start (raw) {
  const stream = new NoiseSecretStream(role === 'initiator', raw, {
    pattern, keyPair, remotePublicKey: remote ? Buffer.from(remote, 'hex') : undefined
  })
  stream.on('error', (error) => say({ event: 'error', message: error.message }))
  stream.on('close', () => say({ event: 'closed', read: stream.rawBytesRead, written: stream.rawBytesWritten }))
  stream.on('open', () => say({
    event: 'open',
    key: stream.remotePublicKey.toString('hex'),
    hash: stream.handshakeHash.toString('hex')
  }))
  stream.write('greetings')
  stream.on('data', (data) => { if (!stream.write(data)) stream.pause() })
  stream.on('drain', () => stream.resume())
  stream.on('message', (data) => stream.trySend(data))
  stream.on('end', () => stream.end())
}

if (carrier === 'tcp') {
  // Half open, or node refuses what is still to be sent back once the peer has ended.
  start(net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true }))
} else {
  const udx = new UDX()
  const socket = udx.createSocket()
  socket.bind(0, '127.0.0.1')
  const raw = udx.createStream(2)
  say({ event: 'bound', port: socket.address().port })
  raw.on('close', () => socket.close())
  raw.connect(socket, 1, Number(port), '127.0.0.1')
  start(raw)
}
