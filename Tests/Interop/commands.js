'use strict'
// A JavaScript peer for what the Swift interface adds to the swarm: a topic that is a padded text, and commands of one's
// own on the DHT. Written against the public API of `hyperswarm` and `hyperdht`, which NODE_PATH has to have. One JSON
// object a line on standard output.
//
//   node commands.js BOOTSTRAP TEXT
//
// Joins `Buffer.alloc(32, TEXT)` and greets every connection; answers command 77 with its value reversed and command 78
// with error 16; a line `request PORT` on standard input asks the node at 127.0.0.1:PORT with command 77, `query` asks
// the nodes closest to the topic and commits to them. Ends with its standard input.
const Hyperswarm = require('hyperswarm')
const DHT = require('hyperdht')

const say = (object) => console.log(JSON.stringify(object))
const [entry, text] = process.argv.slice(2)
const [host, port] = entry.split(':')
const topic = Buffer.alloc(32, text)
const dht = new DHT({ bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1', ephemeral: true })
const swarm = new Hyperswarm({ dht })

const own = dht.onrequest.bind(dht)
dht.onrequest = (request) => {
  if (request.command === 77) {
    if (request.token) say({ event: 'committed' })
    request.reply(request.value && Buffer.from(request.value).reverse())
    return true
  }
  if (request.command === 78) {
    request.error(16)
    return true
  }
  return own(request)
}

swarm.on('connection', (stream, peer) => {
  stream.on('error', () => {})
  stream.on('data', (data) => say({ event: 'data', text: data.toString(), topics: peer.topics.length }))
  stream.write('from JavaScript')
})

async function take (line) {
  const [verb, argument] = line.split(' ')
  if (verb === 'request') {
    const to = { host: '127.0.0.1', port: Number(argument) }
    const reply = await dht.request({ command: 77, target: topic, value: Buffer.from('abc') }, to)
    say({ event: 'reply', value: reply.value && reply.value.toString(), error: reply.error, token: !!reply.token })
    const other = await dht.request({ command: 79, target: topic }, to)
    say({ event: 'unknown', error: other.error })
  } else if (verb === 'query') {
    const query = dht.query({ command: 77, target: topic, value: Buffer.from('xyz') }, { commit: true })
    await query.finished()
    say({ event: 'queried', closest: query.closestReplies.length, successes: query.successes })
  }
}

async function main () {
  await swarm.join(topic).flushed()
  say({ event: 'ready', topic: topic.toString('hex'), port: dht.localAddress().port, key: swarm.keyPair.publicKey.toString('hex') })
  let rest = ''
  for await (const chunk of process.stdin) {
    rest += chunk
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end)
      rest = rest.slice(end + 1)
      take(line).catch((error) => say({ event: 'failed', message: error.message }))
    }
  }
  await swarm.destroy({ force: true })
}

main()
