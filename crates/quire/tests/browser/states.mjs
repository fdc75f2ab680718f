// What is in the way of tasks: each says what happened, what is safe and what can be done; and all of them on the board.
//
//   node states.mjs ADDRESS OUT CACHE
import { spawnSync } from 'node:child_process'
import { address, browser, ended, expect, look, origin, part, sheet, watched } from './driver.mjs'

const page = watched(await (await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })).newPage(), 'states')
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')

// By the number of the task: what it is called, what is said, what can be done; and which part of it was drawn, under which heading.
const states = [
  [1, 'no-model', 'No model', ['Set up a model', 'Use it', 'Discard'], 'No model', 'The task that was begun without one', '.told'],
  [2, 'key-refused', 'key', ['Paste a key', 'Keep trying', 'Use it', 'Discard'], 'Key refused', 'The top of the task', '.told'],
  [9, 'no-answer', 'broke off', ['Keep trying', 'Discard'], 'Model not answering', 'The top of the task', '.told'],
  [8, 'permission', 'May it reach docs.example.org:80?', ['Deny', 'Allow once', 'Allow in this task'], 'Waiting for permission', 'The top of the task; other steps go on, and there is no time-out', '.told'],
  [3, 'limit', '$0.50', ['Add $', 'Discard'], 'Limit reached', 'The top of the task', '.told'],
  [4, 'asks', 'Which colour?', ['blue', 'red', 'Answer']],
  [5, 'check-failed', 'checks failed', ['Send it back', 'Take over', 'Accept anyway']],
  [6, 'folder-moved', 'Your folder changed while it worked', ['Let it fit around mine', 'Keep mine', 'Take this one', 'Discard'], 'Your folder moved on', 'The top of the review, before anything is written', '.told:has(#drift-t)'],
  [5, 'check-failed', 'checks failed', [], 'Says done, but a check failed', 'In the bar', '.accept'],
  [7, 'accepted', 'in your folder', ['Undo', 'Open folder'], 'Accepted', 'In the bar', '.accept']
]
for (const [task, name, says, does, heading, where, what] of states) {
  await page.goto(`${origin}/tasks/${task}`)
  const text = await page.locator('body').innerText()
  expect(text.toLowerCase().includes(says.toLowerCase()), `${name}: it is not said: ${says}`)
  for (const way of does) expect(await page.locator('button, a.btn').filter({ hasText: way }).count() > 0, `${name}: there is no ${way}`)
  if (name === 'permission') expect((await page.locator('.told code.cl').innerText()).includes('curl'), 'the command that ran is not told')
  await look(page, `state-${name}`)
  if (heading) await part(page, heading, where, what)
}

// ---- a machine that lets nobody make a sandbox
if (process.env.BARE) {
  const bare = watched(await (await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'] })).newPage(), 'bare')
  await bare.goto(process.env.BARE)
  await bare.getByRole('heading', { name: 'This computer does not allow private copies yet' }).waitFor()
  await look(bare, 'state-no-sandbox')
  await part(bare, 'No sandbox', 'First run and Settings', '.step:has(#raise-settings), .step:has-text("private copies yet")')
  await bare.getByRole('button', { name: 'Check again' }).click()
  await bare.getByRole('heading', { name: 'This computer does not allow private copies yet' }).waitFor()
  const copy = bare.getByRole('button', { name: /^Copy command/ })
  // In a container there is no command for it.
  if (await copy.count()) {
    await copy.click()
    await bare.getByText('Copied').first().waitFor()
    const copied = await bare.evaluate(() => navigator.clipboard.readText())
    expect(copied === await bare.locator('#raise-settings').textContent() && copied.includes('sudo '), `another command was copied: ${copied}`)
  }
  await bare.goto(new URL('/', bare.url()).href)
  expect(await bare.getByRole('button', { name: /^Start/ }).count() === 0, 'a task can be started where none can run')
  await look(bare, 'state-no-sandbox-home')
  await bare.context().close()
}

// ---- refused: nothing is written over what was changed by hand
await page.goto(origin + '/tasks/6')
await page.locator('#accept-button').click()
await page.getByText('Nothing was written').waitFor()
await look(page, 'state-refused')

// ---- taken back, once it was asked what is to become of what was changed by hand since
await page.goto(origin + '/tasks/7')
await page.keyboard.press('Shift+U')
await page.getByText('list.txt was edited after the accept').waitFor()
await look(page, 'state-undo-asked')
await part(page, 'Undo after later edits', 'After Undo, only when needed', 'main')
await page.getByRole('link', { name: 'Cancel' }).click()
await page.waitForURL(origin + '/tasks/7')
await page.keyboard.press('Shift+U')
await page.getByRole('button', { name: 'Undo, keep my edit' }).click()
await page.getByText('Your later edits stay').waitFor()
await look(page, 'state-undone')

// ---- all of them, on the board, beside one that is done
await page.goto(origin + '/tasks/2')
await page.getByRole('button', { name: 'Discard' }).click()
await page.waitForURL(origin + '/')
await page.locator('label', { hasText: 'Board' }).click()
const columns = await page.locator('.grp').evaluateAll(all => all.map(one => Math.round(one.getBoundingClientRect().left)))
expect(new Set(columns).size === columns.length && columns.length > 1, `the board has no columns: ${columns}`)
await page.locator('#q').focus()
await look(page, 'board')

// ---- the host is gone: it is told, and what was written stays
await page.locator('#live').getByText('Connected').waitFor()
await page.locator('#q').fill('words that are kept')
const other = watched(await page.context().newPage(), 'other')
await other.goto(origin + '/settings')
await page.bringToFront()
// What cannot be loaded then is told on the console, as it should be.
for (const tab of [page, other]) tab.removeAllListeners('console')
process.kill(+process.env.HOST, 'SIGKILL')
await page.locator('#lost').waitFor({ timeout: 20000 })
expect(await page.locator('#tried').innerText() !== '', 'it is not said when it was tried last')
expect(await page.locator('#q').inputValue() === 'words that are kept', 'what was written is lost')
await look(page, 'state-lost')
await part(page, 'quire is not running', 'A strip under the top bar', '#lost')
await sheet('states', 'When something is in the way')
// By itself it tries every few seconds; these are at once.
const begun = Date.now()
for (let time = 1; time <= 4; time += 1) {
  const tried = page.waitForRequest(origin + '/news', { timeout: 2000 })
  await page.getByRole('button', { name: 'Try now' }).click()
  await tried.catch(() => expect(false, `Try now asked nothing, ${time}`))
}
expect(Date.now() - begun < 3000, 'what it tries is not what was clicked')
// From another tab too, which does not listen itself.
await other.bringToFront()
const tried = page.waitForRequest(origin + '/news', { timeout: 2000 })
await other.getByRole('button', { name: 'Try now' }).click()
await tried.catch(() => expect(false, 'Try now of another tab asked nothing'))
await page.bringToFront()
// There again, it is found, and the words are there still.
const { program, env } = JSON.parse(process.env.QUIRE)
expect(spawnSync(program, ['web', '--print'], { env }).status === 0, 'quire did not start again')
await page.getByRole('button', { name: 'Try now' }).click()
for (const tab of [page, other]) await tab.locator('#lost').waitFor({ state: 'hidden', timeout: 2000 })
expect(await page.locator('#q').inputValue() === 'words that are kept', 'what was written is lost by trying')
await ended()
