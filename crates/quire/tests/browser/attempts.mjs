// Attempts on the page: three are begun with a file handed over, compared, one suggested, two mixed, and the mix is looked at since its
// first version, accepted in part, and found on home as one row.
//
//   node attempts.mjs ADDRESS OUT CACHE FOLDER
import { writeFileSync } from 'node:fs'
import { address, browser, ended, expect, folder, look, origin, out, watched } from './driver.mjs'

const page = watched(await (await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' })).newPage(), 'attempts')
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')
const go = () => page.request.get('http://127.0.0.1:' + process.env.HELD) // the model goes on
const at = path => page.waitForURL(origin + path)

// ---- the box: a file, three attempts, a check
await page.goto(origin + '/')
writeFileSync(`${out}/plan.png`, Buffer.from(process.env.PNG, 'base64'))
await page.locator('input[type=file]').setInputFiles(`${out}/plan.png`)
expect(await page.locator('#files-told').textContent() === 'plan.png', 'the file that is handed over is not named')
await page.locator('#q').evaluate(box => {
  const pasted = new DataTransfer()
  pasted.items.add(new File(['rye'], 'notes.txt'))
  box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: pasted, bubbles: true }))
})
expect(await page.locator('#files-told').textContent() === '2 files', 'a file that is pasted is not handed over')
await page.getByLabel('Attempts').selectOption('3')
await page.locator('.extra summary').click()
await page.getByLabel('A check that quire runs itself').fill('grep -q bread index.html')
expect(await page.locator('.with').getByLabel('lab/second').isVisible(), 'a model that is known is not offered')
await page.getByLabel('What should be done?').fill('draw the prices')
await look(page, 'box')
await page.keyboard.press('Control+Enter')
await at('/tasks/1/compare')

// ---- at work, then done, without loading anew
expect(await page.locator('.att').count() === 3, 'there are not three attempts')
await page.locator('.att', { hasText: 'Watch' }).first().waitFor()
await look(page, 'compare-working')
await page.evaluate(() => { window.same = true })
await go()
await page.waitForFunction(() => document.querySelectorAll('.att .foot a').length === 3 && [...document.querySelectorAll('.att .foot a')].every(way => way.textContent.startsWith('Review')), null, { timeout: 60000 })
expect(await page.evaluate(() => window.same), 'the page was loaded anew')
const shown = []
for (const frame of await page.locator('.thumb iframe').elementHandles()) {
  await frame.scrollIntoViewIfNeeded()
  const inner = await frame.contentFrame()
  await inner.waitForSelector('h1')
  shown.push(await inner.textContent('h1'))
}
expect(shown.length === 3 && new Set(shown).size === 3, `what is seen of the three: ${shown}`)
expect(await page.locator('#grid tbody tr').first().locator('[aria-label=Passed]').count() === 2, 'the checks are not told for each')
expect(/index\.html\s*its own\s*its own\s*its own/.test((await page.locator('#grid').innerText()).replaceAll('\t', ' ')), 'what differs is not told by file')
await look(page, 'compare')

// ---- by keyboard: one is reviewed, and back
await page.keyboard.press('b')
await at('/tasks/2')
await page.getByRole('link', { name: 'Attempts' }).click()
await at('/tasks/2/compare')

// ---- a suggestion, with the letters of the page, marked as what it is
await page.getByRole('button', { name: 'Ask for a suggestion' }).click()
const judged = page.locator('#judge', { hasText: /Suggested: [ABC]/ })
await judged.waitFor()
expect(await page.waitForFunction(() => /^\(1\) /.test(document.title), null, { timeout: 8000 }).then(() => true, () => false), 'three attempts at one thing are not one that needs the person')
const [, lead] = /Suggested: ([ABC])/.exec(await judged.textContent())
expect((await judged.textContent()).includes(`${lead} is smaller.`), 'the suggestion is not told in the letters of the page')
expect(/not told which model/.test(await judged.textContent()), 'the suggestion is not marked as one')
expect(await page.locator('.att.lead .letter').textContent() === lead, 'the one that is suggested does not stand out')
await look(page, 'compare-suggested')

// ---- one against another
expect(await page.getByRole('link', { name: 'B against C' }).count() === 1, 'the second cannot be held against the third')
await page.getByRole('link', { name: 'A against B' }).click()
await page.locator('.l.a').first().waitFor()
await look(page, 'compare-against')
await page.getByRole('link', { name: 'Result' }).click()
await page.locator('#mix').waitFor()
// Keys are heard once the script has come.
await page.waitForLoadState()

// ---- a mix, by keyboard
await page.keyboard.press('m')
await page.keyboard.type('As C is, but with the heading of A.')
await page.locator('#mixing .seg label', { hasText: 'C' }).click()
await look(page, 'compare-mix')
await page.locator('#mix').focus()
await page.keyboard.press('Control+Enter')
await page.waitForFunction(() => document.querySelectorAll('.att').length === 4, null, { timeout: 60000 })
const fourth = page.locator('.att', { hasText: 'Review D' })
await fourth.waitFor({ timeout: 60000 })
await fourth.getByRole('link').click()
await at('/tasks/4')
await page.locator('.asked summary').click()
expect(/plan\.png.*notes\.txt/.test(await page.locator('.asked').textContent()), 'what was handed over is not told')
await page.waitForFunction(() => document.querySelector('.asked img').naturalWidth === 1, null, { timeout: 8000 }).catch(() => expect(false, 'the picture that was handed over is not shown'))

// ---- a note leads to a second version, which is looked at since the first
const lines = page.locator('.file[aria-label="index.html"]')
await lines.locator('.note-it').first().click()
await page.locator('.note-row textarea').fill('Name the bakery.')
await page.getByRole('button', { name: 'Add note' }).click()
await page.getByText('Send 1 note').click()
await page.getByText('Version 3', { exact: true }).waitFor({ timeout: 60000 })
const since = page.locator('.since')
expect(/Since version 2/.test(await since.textContent()) && /Name the bakery\./.test(await since.textContent()) && /done in version 3 \(\+\d/.test(await since.textContent()), `what the note led to is not told: ${await since.textContent()}`)
await look(page, 'since')
await page.locator('.file[aria-label="list.txt"] input[name=leave]').first().check()
await page.getByRole('link', { name: 'Show only what changed since' }).click()
await page.getByRole('heading', { name: 'Changes since version 2' }).waitFor()
expect(await page.locator('.file').count() === 1 && await page.locator('.file[aria-label="index.html"]').count() === 1, 'more or less than what changed since is shown')
expect((await page.locator('#will').textContent()).includes('without 1 change'), 'what was left out is forgotten where it is not shown')
await look(page, 'since-only')
await page.locator('.note-it').first().click()
await page.locator('.note-row textarea').fill('Good.')
await page.getByRole('button', { name: 'Add note' }).click()
await page.getByText('Send 1 note').waitFor()
await page.getByRole('link', { name: 'Since 1', exact: true }).click()
await page.getByRole('heading', { name: 'Changes since version 1' }).waitFor()
await page.locator('#accept-button').click()
await page.getByText('written to').waitFor()

// ---- accepted in part it is one row that needs the person, and one attempt that is left is a task like any other
await page.goto(origin + '/')
expect(await page.locator('.task').count() === 1 && /4 attempts/.test(await page.locator('.task').textContent()), 'attempts are not one row')
await look(page, 'home-attempts')
await page.locator('.task').getByRole('link', { name: 'Compare' }).click()
await page.getByRole('button', { name: /^Discard/ }).click()
await at('/')
await ended()
