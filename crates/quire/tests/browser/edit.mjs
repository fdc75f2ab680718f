// A version is taken over: a check failed, the person mends the file themself, the check passes, they accept. With scripts, then
// without.
//
//   node edit.mjs ADDRESS OUT CACHE
import { address, browser, ended, expect, look, origin, watched } from './driver.mjs'

const size = { viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' }
const context = await browser.newContext(size)
const page = watched(await context.newPage(), 'edit')
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')

// ---- says done, but a check failed: of two files one is chosen
await page.goto(origin + '/tasks/1')
const way = page.getByRole('link', { name: 'Take over' })
await way.waitFor()
await look(page, 'review-failed')
await way.click()
await page.getByRole('heading', { name: 'Take over' }).waitFor()
await look(page, 'take-over')
await page.locator('main').getByRole('link', { name: 'style.css' }).click()

// ---- what the agent left is in the field, and is changed there
const field = page.locator('#text')
const shown = await field.inputValue()
expect(shown === 'h1 {\n  color: rde\n}', `the field has: ${JSON.stringify(shown)}`)
expect((await field.evaluate(one => getComputedStyle(one).fontFamily)).includes('mono'), 'code is not in the font of code')
await look(page, 'edit')
await field.fill(shown.replace('rde', 'red'))
await page.getByRole('button', { name: 'Save as version 2' }).click()

// ---- quire checks it, and nobody else is asked
await page.getByText('You changed style.css yourself').waitFor()
await page.getByText('passes').first().waitFor()
expect(await page.getByRole('link', { name: 'Take over' }).count() === 0, 'what passes is still to be taken over')
await look(page, 'review-edited')

// ---- once more without scripts, from the head of the file
const plain = await browser.newContext({ ...size, javaScriptEnabled: false, storageState: await context.storageState() })
const bare = watched(await plain.newPage(), 'edit without scripts')
await bare.goto(origin + '/tasks/1')
await bare.getByRole('link', { name: 'Edit style.css' }).click()
await bare.locator('#text').fill('h1 {\n  color: red;\n  margin: 0\n}')
await bare.getByRole('button', { name: 'Save as version 3' }).click()
await bare.waitForURL(origin + '/tasks/1')
// Without scripts a page is loaded anew; the other one tells when.
await page.goto(origin + '/tasks/1')
await page.getByText('Version 3', { exact: true }).waitFor()
await bare.reload()
await bare.locator('#accept-button').click()
await bare.getByText('2 files written to').waitFor()
await ended()
