// A question on the page: it is answered, and there is nothing to accept. Then a tab that nobody sees tells what came to need its
// person, a document that was made is shown as it is printed, and a key that is held decides once.
//
//   node answer.mjs ADDRESS OUT CACHE
import { resolve } from 'node:path'
import { address, browser, ended, expect, look, origin, out, watched } from './driver.mjs'

const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })
await context.grantPermissions(['notifications'], { origin })
// What is told on the desktop is gathered; nobody sees this tab where `away` says so.
await context.addInitScript(() => {
  window.notes = []
  const Real = window.Notification
  window.Notification = class extends Real {
    constructor(title, options) { super(title, options); window.notes.push(`${title}: ${options.body}`) }
  }
  Object.defineProperty(document, 'hidden', { get: () => window.away === true })
})
const page = watched(await context.newPage(), 'answer')
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')
await page.goto(origin + '/')

// ---- 1b: typed, started, read
let interactions = 0
await page.getByLabel('What should be done?').fill('Which bread costs most?'); interactions++
await page.getByRole('button', { name: /^Start/ }).click(); interactions++
await page.getByText('Nothing to accept.').waitFor(); interactions++
expect(interactions <= 3, `an answer takes ${interactions} interactions`)
expect(await page.locator('#summary strong').textContent() === 'Baguettes', 'the answer is not drawn as what it is')
expect(await page.locator('.facts .tag.green').textContent() === 'No files changed', 'it is not said that no file changed')
expect(await page.locator('#accept-button').textContent() === 'Done ⇧A' && await page.locator('#checks').count() === 0 && await page.locator('#changes').count() === 0, 'there is something to accept')
expect(await page.locator('.bars progress.minus').count() === 3 && await page.locator('.bars .minus', { hasText: '−3.30' }).count() === 1, 'its table is not drawn as bars')
// Its table is one click away, or one key.
const [bars, table] = [page.locator('.as .bars'), page.locator('.as table')]
expect(await bars.isVisible() && !(await table.isVisible()), 'the table is not drawn at first')
await page.getByText('Table', { exact: true }).click()
expect(await table.isVisible() && !(await bars.isVisible()), 'the table is not shown')
await look(page, 'answer-table')
await page.keyboard.press('ArrowLeft')
expect(await bars.isVisible() && !(await table.isVisible()), 'the table is not drawn again')
const named = page.locator('.checks details', { hasText: 'prices.csv, row 4' })
await named.locator('summary').focus()
await page.keyboard.press('Enter')
await named.getByText('baguette').waitFor()
await look(page, 'answer')
// The file to keep is one file, and opens by itself.
const download = page.waitForEvent('download')
await page.getByRole('link', { name: 'Save as report' }).click()
const kept = await download
expect(kept.suggestedFilename() === 'Which-bread-costs-most.html', `it is kept as ${kept.suggestedFilename()}`)
await kept.saveAs(`${out}/report.html`)
const offline = watched(await (await browser.newContext({ offline: true, javaScriptEnabled: false })).newPage(), 'report')
await offline.goto(`file://${resolve(out, 'report.html')}`)
expect(await offline.locator('td', { hasText: 'baguette' }).count() > 0 && await offline.locator('h1').evaluate(h1 => h1.textContent) === 'Which bread costs most?', 'the file does not open by itself')
await offline.screenshot({ path: `${out}/report.png`, fullPage: true })
await offline.context().close()
await page.keyboard.press('Shift+R')
expect(await page.evaluate(() => document.activeElement.id) === 'words', 'R does not lead to a follow-up')
await page.keyboard.press('Escape')
// What may be asked next is asked by a press.
expect(await page.locator('.next button').count() === 2, 'nothing is proposed to be asked next')
await page.getByRole('button', { name: 'Put this in a one-page report' }).click()
await page.locator('#summary').getByText('It is printed.').waitFor()
// Keys are heard once the script is there.
await page.waitForLoadState()
expect(await page.locator('.next').count() === 0, 'what was asked is proposed again')
await page.keyboard.press('Shift+A')
await page.waitForURL(origin + '/')
expect(await page.locator('section[aria-label="Needs you"]').getByText('Which bread').count() === 0 && await page.locator('#task-1').count() === 1, 'what was read still needs somebody')

// ---- what comes to need its person while nobody looks
await page.locator('#live').getByText('Connected').waitFor()
const key = await page.locator('input[name=key]').first().inputValue()
const folder = await page.locator('select[name=folder]').inputValue()
const begin = words => page.evaluate(([key, words, folder]) => fetch('/tasks', { method: 'POST', headers: { 'x-quire': key }, body: new URLSearchParams({ words, folder }) }), [key, words, folder])
const notes = count => page.waitForFunction(count => window.notes.length >= count, count, { timeout: 60000 }).then(() => page.evaluate(() => window.notes))
const title = start => page.waitForFunction(start => document.title.startsWith(start), start, { timeout: 8000 }).catch(() => expect(false, `the title does not begin with ${start}`))
await page.evaluate(() => { window.away = true })
await begin('paint it')
expect((await notes(1))[0].startsWith('paint it: Needs you: '), `told of a question: ${await notes(1)}`)
await title('(1) ')
// It stands below the other, and is told of all the same.
await begin('print it')
const told = await notes(2)
expect(told.length === 2 && told[1] === 'print it: Ready. 2 tasks need you.', `told of a second one: ${told}`)
await title('(2) ')
// Who looks is told nothing more.
await page.evaluate(() => { window.away = false })
await page.evaluate(key => fetch('/tasks/2/discard', { method: 'POST', headers: { 'x-quire': key } }), key)
await title('(1) ')
expect((await notes(2)).length === 2, `told of what was decided: ${await notes(2)}`)

// ---- a document, as the browser shows such
const came = page.waitForResponse(answer => answer.url().endsWith('/paper.pdf'))
await page.goto(origin + '/tasks/3')
const frame = page.locator('iframe[title="Preview of paper.pdf"]')
await frame.scrollIntoViewIfNeeded()
const answer = await came
expect(answer.status() === 200 && answer.headers()['content-type'] === 'application/pdf', `the document comes as ${answer.status()} ${answer.headers()['content-type']}`)
expect(new URL(answer.url()).origin !== origin, 'the document comes from the page itself')
expect(!/sandbox/.test(answer.headers()['content-security-policy']), 'the viewer does not begin in a sandbox')
// The browser's own viewer, in the frame.
const viewer = () => page.frames().some(one => one.url() === answer.url() && one.parentFrame()?.url().startsWith('chrome-extension://'))
for (const begun = Date.now(); !viewer() && Date.now() - begun < 15000;) await page.waitForTimeout(50)
expect(viewer(), `the document is not shown: ${page.frames().map(one => one.url())}`)
await page.screenshot({ path: `${out}/printed.png` })

// ---- a key that is held decides once, and one that was meant for the page before decides nothing
const held = watched(await context.newPage(), 'held')
const accepts = []
held.on('request', request => { if (request.method() === 'POST' && request.url().endsWith('/accept')) accepts.push(new URL(request.url()).pathname) })
// Whatever a key began has been sent by the time that this is answered.
const settled = () => held.evaluate(() => fetch('/rows').then(answer => answer.text()))
const now = Date.now()
await held.clock.setFixedTime(now)
await begin('note it')
await begin('note it too')
for (const task of [4, 5]) {
  await held.goto(`${origin}/tasks/${task}`)
  await held.locator('#accept-button').waitFor({ timeout: 60000 })
}
await held.evaluate(() => localStorage.setItem('quire go-on', 'on'))
await held.reload()
await held.keyboard.down('Shift')
await held.keyboard.down('A')
await held.waitForURL(/\/tasks\/\d+\?after=5$/)
await held.locator('#accept-button').waitFor()
// It is looked at for long enough, and the key is still down.
await held.clock.setFixedTime(now + 5000)
for (let times = 0; times < 5; times++) await held.keyboard.down('A')
await settled()
expect(accepts.join() === '/tasks/5/accept', `a held key accepted ${accepts}`)
await held.keyboard.up('A')
// The page has just come: a press was meant for the one before.
await held.reload()
await held.keyboard.press('A')
await settled()
expect(accepts.length === 1, `a key for the page before accepted ${accepts}`)
await held.clock.setFixedTime(now + 6000)
await held.keyboard.press('A')
await held.waitForURL(/after=(3|4)$/)
await held.keyboard.up('Shift')
expect(accepts.length === 2, `a press accepted ${accepts}`)
await ended()
