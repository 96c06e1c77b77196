// The packages `holesail-client` and `holesail-server` as one side of a tunnel. They enter the public network by
// themselves, so each gets a node of the network that BOOTSTRAP names; see README.md in this folder.
const HyperDHT = require('hyperdht')
const z32 = require('z32')

const [role, bootstrap, secret, port, kind] = process.argv.slice(2)
const secure = kind === 'private'
const keyPair = secure || role === 'serve' ? HyperDHT.keyPair(Buffer.from(secret, 'hex')) : undefined
const nodes = bootstrap.split(',').map((text) => {
  const [host, port] = text.split(':')
  return { host, port: Number(port) }
})

// Their constructors make a node of this class.
const path = require.resolve('hyperdht')
require.cache[path].exports = class extends HyperDHT {
  constructor (options) {
    super({ ...options, bootstrap: nodes })
  }
}

function say (event) {
  console.log(JSON.stringify({ event: 'ready', ...event }))
}

if (role === 'serve') {
  const Server = require('holesail-server')
  const server = new Server()
  server.start({ host: '127.0.0.1', port: Number(port), seed: secret, secure, udp: false }, () => {
    say({ key: keyPair.publicKey.toString('hex') })
  })
} else {
  const Client = require('holesail-client')
  const client = new Client({ key: z32.encode(Buffer.from(secret, 'hex')), secure })
  client.connect({ host: '127.0.0.1', port: Number(port), udp: false }, () => say({ port: Number(port) }))
}
