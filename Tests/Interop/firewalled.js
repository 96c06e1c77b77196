'use strict'
// A JavaScript peer that believes to be behind a NAT and hides its local addresses: the only way to it is punching.
// Written against the public API of `hyperdht`; needs it in NODE_PATH. One JSON object a line on standard output.
//
//   node firewalled.js listen BOOTSTRAP SEED     echoes
//   node firewalled.js listen-local ...          the same on 127.0.0.1, and tells it
//   node firewalled.js connect BOOTSTRAP KEY     sends one message, expects its echo
//   node firewalled.js reconnect BOOTSTRAP KEY   the same three times with a reusable socket, and tells its port
const DHT = require('hyperdht')

const say = (object) => console.log(JSON.stringify(object))
const [command, entry, argument] = process.argv.slice(2)
const [host, port] = entry.split(':')
const dht = new DHT({
  bootstrap: [{ host, port: Number(port) }], firewalled: true, quickFirewall: false, ephemeral: true,
  host: command === 'listen-local' ? '127.0.0.1' : undefined
})

async function main () {
  if (command.startsWith('listen')) {
    const server = dht.createServer({ shareLocalAddress: command === 'listen-local' }, (stream) => {
      stream.on('error', (error) => say({ event: 'error', code: error.code }))
      stream.on('end', () => stream.end())
      stream.on('close', () => say({ event: 'close', punches: dht.stats.punches }))
      stream.on('data', (data) => stream.write(data))
      say({ event: 'connection' })
    })
    await server.listen(DHT.keyPair(Buffer.from(argument, 'hex')))
    say({ event: 'ready', publicKey: server.publicKey.toString('hex') })
  } else if (command === 'reconnect') {
    for (let count = 0; count < 3; count++) await visit(Buffer.from(argument, 'hex'))
    say({ event: 'close', punches: dht.stats.punches })
  } else {
    const stream = dht.connect(Buffer.from(argument, 'hex'), { localConnection: false })
    stream.on('error', (error) => say({ event: 'error', code: error.code }))
    stream.on('close', () => say({ event: 'close', punches: dht.stats.punches }))
    stream.on('data', (data) => {
      say({ event: 'echo', text: data.toString() })
      stream.end()
    })
    stream.write('through the hole')
  }
}

function visit (key) {
  return new Promise((resolve) => {
    const stream = dht.connect(key, { localConnection: false, reusableSocket: true })
    stream.on('error', (error) => say({ event: 'error', code: error.code }))
    stream.on('close', resolve)
    stream.on('data', (data) => {
      say({ event: 'echo', text: data.toString(), port: stream.rawStream.socket.address().port })
      stream.end()
    })
    stream.write('through the hole')
  })
}

main().catch((error) => say({ event: 'fatal', message: error.message }))
