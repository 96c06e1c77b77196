'use strict'
// One side of a beam, as the program hyperbeam 3 makes it, written against the public API of `hyperdht`. It needs that
// package in NODE_PATH. Standard input goes to the peer, what the peer sends to standard output.
//
//   node beam.js listen|connect BOOTSTRAP PASSPHRASE
const DHT = require('hyperdht')

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

// 52 characters are 260 bits, of which the last four do not count.
function seedOf (passphrase) {
  let bits = 0n
  for (const digit of passphrase) bits = bits << 5n | BigInt(alphabet.indexOf(digit))
  return Buffer.from((bits >> 4n).toString(16).padStart(64, '0'), 'hex')
}

function join (stream, node) {
  stream.on('error', (error) => {
    console.error(error.message)
    process.exit(1)
  })
  stream.on('data', (chunk) => process.stdout.write(chunk))
  stream.on('close', () => node.destroy().then(() => process.exit(0)))
  process.stdin.on('data', (chunk) => stream.write(chunk))
  process.stdin.on('end', () => stream.end())
}

async function main () {
  const [role, bootstrap, passphrase] = process.argv.slice(2)
  const [host, port] = bootstrap.split(':')
  const keyPair = DHT.keyPair(seedOf(passphrase))
  const node = new DHT({ ephemeral: true, bootstrap: [{ host, port: Number(port) }] })
  if (role === 'connect') return join(node.connect(keyPair.publicKey, { keyPair }), node)
  const server = node.createServer({ firewall: (key) => !key.equals(keyPair.publicKey) })
  server.on('connection', (stream) => join(stream, node))
  await server.listen(keyPair)
  console.error('listening')
}

main()
