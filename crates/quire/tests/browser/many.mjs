// Fifty tasks at work, and home open: what that costs the host and the tab, and how much the host says.
//
//   node many.mjs ADDRESS OUT CACHE
import { readFileSync } from 'node:fs'
import { address, browser, ended, expect, look, measure, origin, watched } from './driver.mjs'

const TASKS = 50
const SECONDS = 10
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } })
// Counts what comes on the stream.
await context.addInitScript(() => {
  window.news = []
  const Real = window.EventSource
  window.EventSource = class extends Real {
    constructor(at) { super(at); this.addEventListener('news', event => window.news.push(event.data.length)) }
  }
})
const page = watched(await context.newPage(), 'many')
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')
// In hundredths of a second, of the host alone and not of what runs in its sandboxes.
const host = () => { const fields = readFileSync(`/proc/${process.env.HOST}/stat`, 'utf8').split(') ')[1].split(' '); return +fields[11] + +fields[12] }
const percent = (spent, seconds) => Math.round(spent / seconds * 1000) / 10
// What they cost while nobody looks.
const isAtWork = count => page.request.get(origin + '/rows', { headers: { 'sec-fetch-site': 'same-origin' } }).then(answer => answer.text()).then(rows => rows.split('data-mark="Working"').length - 1 === count)
for (const begun = Date.now(); !await isAtWork(TASKS) && Date.now() - begun < 60000;) await page.waitForTimeout(200)
await page.goto('about:blank')
const alone = host()
await page.waitForTimeout(SECONDS * 1000)
const unseen = percent((host() - alone) / 100, SECONDS)
await page.goto(origin + '/')
await page.locator('#live').getByText('Connected').waitFor()
await page.waitForFunction(count => document.querySelectorAll('.task[data-mark=Working]').length === count, TASKS, { timeout: 60000 })
await look(page, 'many')
const cdp = await context.newCDPSession(page)
await cdp.send('Performance.enable')
const tab = async () => (await cdp.send('Performance.getMetrics')).metrics.find(one => one.name === 'TaskDuration').value
let rows = 0
page.on('request', request => { if (request.url().endsWith('/rows')) rows++ })
await page.evaluate(() => { window.news = [] })
const [hostBefore, tabBefore, begun] = [host(), await tab(), Date.now()]
await page.waitForTimeout(SECONDS * 1000)
const seconds = (Date.now() - begun) / 1000
const seen = percent((host() - hostBefore) / 100, seconds)
measure(`Processor of the host, ${TASKS} tasks at work, nobody looks`, unseen, null, '%')
measure('More of it while home is open', Math.round((seen - unseen) * 10) / 10, 2, '%', false)
measure('Processor of the tab', percent(await tab() - tabBefore, seconds), null, '%')
const news = await page.evaluate(() => window.news)
measure(`News of ${TASKS} tasks at work, a second`, Math.round(news.length / seconds * 10) / 10, 4, '')
measure('Longest of the news', Math.max(0, ...news), 1024, 'bytes')
measure('Rows fetched anew, a second', Math.round(rows / seconds * 10) / 10, 4, '')
expect(await page.locator('.task[data-mark=Working]').count() === TASKS, 'not all of them are at work any more')
await ended()
