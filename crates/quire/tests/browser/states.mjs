// What is in the way of tasks: each says what happened, what is safe and what can be done; and all of them on the board.
//
//   node states.mjs ADDRESS OUT CACHE
import { address, browser, ended, expect, look, origin, watched } from './driver.mjs'

const page = watched(await (await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })).newPage(), 'states')
await page.goto(address)
await page.waitForURL(url => url.pathname !== '/enter')

// By the number of the task: what it is called, what is said, what can be done.
const states = [
  [1, 'no-model', 'No model', ['Set up a model', 'Use it', 'Discard']],
  [2, 'key-refused', 'key', ['Paste a key', 'Keep trying', 'Use it', 'Discard']],
  [3, 'limit', '$0.50', ['Add $', 'Discard']],
  [4, 'asks', 'Which colour?', ['blue', 'red', 'Answer']],
  [5, 'check-failed', 'checks failed', ['Send it back', 'Accept anyway']],
  [6, 'folder-moved', 'Your folder changed while it worked', ['Let it fit around mine', 'Take this one', 'Discard']],
  [7, 'accepted', 'in your folder', ['Undo', 'Open folder']],
  [8, 'permission', 'May it reach docs.example.org:80?', ['Deny', 'Allow in this task']]
]
for (const [task, name, says, does] of states) {
  await page.goto(`${origin}/tasks/${task}`)
  const text = await page.locator('body').innerText()
  expect(text.toLowerCase().includes(says.toLowerCase()), `${name}: it is not said: ${says}`)
  for (const way of does) expect(await page.locator('button, a.btn').filter({ hasText: way }).count() > 0, `${name}: there is no ${way}`)
  await look(page, `state-${name}`)
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
// What cannot be loaded then is told on the console, as it should be.
page.removeAllListeners('console')
process.kill(+process.env.HOST, 'SIGKILL')
await page.locator('#lost').waitFor({ timeout: 20000 })
expect(await page.locator('#q').inputValue() === 'words that are kept', 'what was written is lost')
await look(page, 'state-lost')
await ended()
