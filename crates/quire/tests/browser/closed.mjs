// A page that tries everything, shown in its frame on the review: what it reaches.
//
//   node closed.mjs ADDRESS CACHE ELSEWHERE   -> exit 0, or what it reached, one a line
import { createRequire } from 'node:module'

const [, , address, cache, elsewhere] = process.argv
const { chromium } = createRequire(`${cache}/node_modules/`)('playwright-core')
const origin = new URL(address).origin
const wrong = []
const expect = (is, what) => { if (!is) wrong.push(what) }
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'] })
const context = await browser.newContext()
const page = await context.newPage()
context.on('page', () => wrong.push('it opened a window'))
page.on('dialog', dialog => { wrong.push(`it said: ${dialog.message()}`); dialog.dismiss() })
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')
await page.goto(origin + '/tasks/1')
const frame = await (await page.locator('iframe[name=preview]').elementHandle()).contentFrame()
await frame.waitForFunction(() => document.body?.dataset.done, null, { timeout: 15000 })
const tried = JSON.parse(await frame.evaluate(() => document.body.dataset.tried))
// What it may: its own files. So that the others are known to have been tried.
expect(tried['own file'] === 'reached', `its own file: ${tried['own file']}`)
for (const [what, outcome] of Object.entries(tried)) if (what !== 'own file') expect(/^no:/.test(outcome), `${what}: ${outcome}`)
expect(Object.keys(tried).length === 13, `${Object.keys(tried).length} things were tried`)
expect(page.url() === origin + '/tasks/1', `it led the page to ${page.url()}`)
// What it was kept from is told.
await page.locator('#kept-from').getByText(new URL(elsewhere).host).waitFor({ timeout: 10000 }).catch(() => wrong.push('what it asked for elsewhere is not told'))
// A drawing with a script in it, as an image of the page's own.
const drawn = page.locator('img[alt^="drawn.svg"]')
await drawn.scrollIntoViewIfNeeded()
await page.waitForFunction(() => document.querySelector('img[alt^="drawn.svg"]').naturalWidth > 0, null, { timeout: 10000 }).catch(() => wrong.push('the drawing is not shown'))
expect(await page.evaluate(() => window.drawn === undefined && document.title.includes('make a page')), 'the drawing ran a script')
await browser.close()
for (const [what, outcome] of Object.entries(tried)) console.log(`${what}: ${outcome}`)
if (wrong.length) { console.log(wrong.join('\n')); process.exit(1) }
