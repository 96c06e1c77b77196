'use strict'
// The workloads of `hyperswarm-benchmark-workloads pair` on the JavaScript stack, both ends in this process. Written
// against the public API of `hyperdht`; needs it in NODE_PATH. `Benchmarks/run` starts it.
//
//   node javascript.js bulk HOST:PORT MESSAGES BYTES
//   node javascript.js echo HOST:PORT COUNT
//   node javascript.js connect HOST:PORT COUNT
const DHT = require('hyperdht')

const [work, entry, countText, bytesText] = process.argv.slice(2)
const [host, port] = entry.split(':')
const options = { bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1' }
const now = () => Number(process.hrtime.bigint()) / 1e3
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve))

class Meter {
  constructor () {
    this.start = now()
    this.cpu = process.cpuUsage()
  }

  get seconds () { return (now() - this.start) / 1e6 }

  get cpuSeconds () {
    const { user, system } = process.cpuUsage(this.cpu)
    return (user + system) / 1e6
  }
}

const say = (object) => console.log(JSON.stringify(object))
const figure = (work, metric, value, unit, higher = false) => say({ work, metric, value, unit, higher })

async function bulk (own, theirs, messages, bytes) {
  const message = Buffer.alloc(bytes, 7)
  for (const part of [Math.floor(messages / 10), messages]) {
    const meter = new Meter()
    let received = 0
    const done = new Promise((resolve) => {
      const take = (data) => {
        received += data.byteLength
        if (received < part * bytes) return
        theirs.off('data', take)
        resolve()
      }
      theirs.on('data', take)
    })
    for (let number = 0; number < part; number++) {
      if (!own.write(message)) await once(own, 'drain')
    }
    await done
    if (part !== messages) continue
    const name = `encrypted bulk, messages of ${bytes} bytes`
    figure(name, 'throughput', received / meter.seconds / 1e6, 'MB/s', true)
    figure(name, 'CPU', meter.cpuSeconds / received * 1e9, 's/GB')
  }
}

async function echo (own, theirs, count) {
  theirs.on('data', (data) => theirs.write(data))
  const message = Buffer.alloc(64, 1)
  const times = []
  const warm = Math.floor(count / 10)
  for (let number = 0; number < count + warm; number++) {
    const start = now()
    const back = once(own, 'data')
    own.write(message)
    await back
    if (number >= warm) times.push(Math.round((now() - start) * 10) / 10)
  }
  say({ work: 'encrypted echo, 64 bytes', times })
}

async function connect (server, b, count) {
  const times = []
  const meter = new Meter()
  for (let number = 0; number < count; number++) {
    const start = now()
    const stream = b.connect(server.publicKey)
    stream.on('error', () => {})
    await once(stream, 'open')
    times.push(Math.round((now() - start) * 10) / 10)
    stream.write(Buffer.from([1]))
    stream.destroy()
  }
  figure('connect by key', 'rate', count / meter.seconds, '/s', true)
  figure('connect by key', 'CPU', meter.cpuSeconds / count * 1e3, 'ms each')
  say({ work: 'connect by key', times })
}

async function main () {
  const a = new DHT(options)
  const b = new DHT(options)
  let accepted
  const theirs = new Promise((resolve) => { accepted = resolve })
  const server = a.createServer((stream) => {
    stream.on('error', () => {})
    if (work === 'connect') stream.once('data', () => stream.destroy())
    accepted(stream)
  })
  await server.listen()
  const count = Number(countText)
  if (work === 'connect') {
    await connect(server, b, count)
  } else {
    const own = b.connect(server.publicKey)
    own.on('error', () => {})
    await once(own, 'open')
    if (work === 'bulk') await bulk(own, await theirs, count, Number(bytesText))
    else await echo(own, await theirs, count)
  }
  process.exit(0)
}

main()
