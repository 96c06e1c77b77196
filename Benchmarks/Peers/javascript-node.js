#!/usr/bin/env node
'use strict'
// A permanent node of the JavaScript stack with a full answer to FIND_NODE, for `Benchmarks/RPC/run --node`. Written
// against the public API of `dht-rpc`; needs it in NODE_PATH.
//
//   javascript-node.js serve PORT
const DHT = require('dht-rpc')

const OTHERS = 24 // more than an answer holds

async function main () {
  const port = Number(process.argv[3])
  const first = DHT.bootstrapper(port, '127.0.0.1')
  await first.fullyBootstrapped()
  const bootstrap = [{ host: '127.0.0.1', port }]
  for (let number = 0; number < OTHERS; number++) {
    const node = new DHT({ bootstrap, host: '127.0.0.1', ephemeral: false, firewalled: false })
    await node.fullyBootstrapped()
  }
}

main()
