'use strict'
// One connect of a deployed client, for the rows that measure those. Written against the public API of `hyperdht`,
// which NODE_PATH has to have. One JSON object a line on standard output; stays connected until SIGTERM.
//
//   node client.js BOOTSTRAP KEY
const DHT = require('hyperdht')

const [entry, key] = process.argv.slice(2)
const [host, port] = entry.split(':')
const dht = new DHT({ bootstrap: [{ host, port: Number(port) }] })
const stream = dht.connect(Buffer.from(key, 'hex'))

stream.on('open', () => console.log(JSON.stringify({ event: 'connection' })))
stream.on('error', (error) => {
  console.log(JSON.stringify({ event: 'error', code: error.code, message: error.message }))
  process.exit(1)
})
process.on('SIGTERM', () => dht.destroy({ force: true }).then(() => process.exit(0)))
