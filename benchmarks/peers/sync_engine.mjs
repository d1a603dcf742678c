// The events of EVENTS through @supabase/stripe-sync-engine, CONNECTIONS at a time, as its README shows; prints what it keeps.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine')
const Stripe = require('stripe')
const pg = require('pg')

const { PGHOST, PGUSER, PGDATABASE, STRIPE_URL, EVENTS } = process.env
const connections = Number(process.env.CONNECTIONS ?? 1)
const databaseUrl = `postgres://${PGUSER}@/${PGDATABASE}?host=${encodeURIComponent(PGHOST)}`
const logger = { info() {}, warn() {}, debug() {}, error: (...said) => console.error(...said) }
await runMigrations({ databaseUrl, schema: 'stripe', logger })

const sync = new StripeSync({
  poolConfig: { connectionString: databaseUrl, max: connections },
  stripeSecretKey: 'sk_test_peers',
  stripeWebhookSecret: 'whsec_peers',
})
const stripe = new URL(STRIPE_URL)
sync.stripe = new (Stripe.default ?? Stripe)('sk_test_peers', { host: stripe.hostname, port: stripe.port, protocol: 'http' })

const events = JSON.parse(readFileSync(EVENTS, 'utf8'))
let failed = 0
let firstFailure = null
const began = performance.now()
const next = events.values()
await Promise.all(Array.from({ length: connections }, async () => {
  for (const event of next) {
    try {
      await sync.processEvent(event)
    } catch (error) {
      failed += 1
      firstFailure ??= `${event.type}: ${String(error.message).slice(0, 200)}`
    }
  }
}))
const seconds = (performance.now() - began) / 1000

const client = new pg.Client({ connectionString: databaseUrl })
await client.connect()
const kept = []
for (const [table, object] of [['subscriptions', 'subscription'], ['invoices', 'invoice']]) {
  const { rows } = await client.query(`select row_to_json(t) as row from stripe.${table} t`)
  kept.push(...rows.map(({ row }) => ({ ...row, object })))
}
await client.end()
const answer = JSON.stringify({ seconds, failed, first_failure: firstFailure, objects: kept })
process.stdout.write(`${answer}\n`, () => process.exit(0))
