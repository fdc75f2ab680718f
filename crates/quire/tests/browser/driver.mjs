// What drives Chromium in the page's tests: whatever breaks or is blocked is gathered as wrong, and each screen is looked over by
// axe-core in both themes and two widths, and pictured.
//
//   node SCRIPT ADDRESS OUT CACHE [FOLDER]   -> exit 0, or what is wrong, one a line
import { createRequire } from 'node:module'
import { readFileSync, mkdirSync } from 'node:fs'

export const [, , address, out, cache, folder] = process.argv
const require = createRequire(`${cache}/node_modules/`)
const { chromium } = require('playwright-core')
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
export const origin = new URL(address).origin
mkdirSync(out, { recursive: true })

const wrong = []
export const expect = (is, what) => { if (!is) wrong.push(what) }
const quiet = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-default-apps', '--disable-domain-reliability', '--metrics-recording-only']
export const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: quiet })

// Whatever the policy blocks, and whatever breaks, is told on the console.
export function watched(page, name) {
  page.on('console', message => { if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) wrong.push(`${name}: console: ${message.text()}`) })
  page.on('pageerror', error => wrong.push(`${name}: ${error.message}`))
  return page
}

// What is measured; a limit of time is printed and not held to, because machines differ.
const rows = []
export function measure(what, value, limit, unit, isHeld = true) {
  rows.push([what, value, limit, unit])
  if (limit !== null && isHeld) expect(value <= limit, `${what}: ${value} ${unit}, more than ${limit}`)
}

let pictures = 0
export async function look(page, name) {
  for (const theme of ['light', 'dark']) {
    for (const [size, width, height] of [['desk', 1440, 900], ['phone', 390, 844]]) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height })
      const sideways = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth)
      expect(sideways <= 0, `${name} ${theme} ${size}: scrolls sideways by ${sideways}`)
      await page.evaluate(axe)
      const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
      for (const one of found.violations) wrong.push(`${name} ${theme} ${size}: ${one.id}: ${one.nodes[0].html.slice(0, 160)} (${one.nodes.length})`)
      // Those that are drawn whole are pictured whole: in a window so high, so that what keeps to its lower edge lies there.
      const whole = size === 'desk' && /^(settings|review|answer)/.test(name) ? await page.evaluate(() => document.scrollingElement.scrollHeight) : 0
      if (whole > height) await page.setViewportSize({ width, height: whole })
      await page.screenshot({ path: `${out}/${name}-${size}-${theme}.png` })
      pictures += 1
    }
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 1440, height: 900 })
}

// Parts of screens, as they stand on the sheet that [`sheet`] makes.
const parts = []
export async function part(page, heading, where, what) {
  const shots = {}
  for (const theme of ['light', 'dark']) {
    for (const [size, width] of [['desk', 680], ['phone', 390]]) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height: 1400 })
      shots[`${size}-${theme}`] = (await page.locator(what).first().screenshot()).toString('base64')
    }
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 1440, height: 900 })
  parts.push({ heading, where, shots })
}

// Sets them together, as the states are drawn on one sheet, to be laid beside that.
export async function sheet(name, title) {
  const page = await (await browser.newContext()).newPage()
  for (const theme of ['light', 'dark']) {
    for (const [size, width] of [['desk', 1440], ['phone', 390]]) {
      await page.setViewportSize({ width, height: 900 })
      const [paper, ink, quiet] = theme === 'light' ? ['#f5f6f7', '#14181b', '#616b73'] : ['#0f1214', '#e9edf0', '#8d98a0']
      const cells = parts.map(({ heading, where, shots }) => `<section><h2>${heading}</h2><p>${where}</p><img src="data:image/png;base64,${shots[`${size}-${theme}`]}" alt="${heading}"></section>`)
      await page.setContent(`<style>body { margin: 0; padding: 24px; background: ${paper}; color: ${ink}; font: 14px Inter, sans-serif } main { max-width: 1240px; margin: auto }
        div { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 28px } h1 { font-size: 26px } h2 { font-size: 16px; margin: 0 } p { color: ${quiet}; margin: 0 0 8px } img { max-width: 100% }</style>
        <main><h1>${title}</h1><div>${cells.join('')}</div></main>`)
      await page.screenshot({ path: `${out}/${name}-${size}-${theme}.png`, fullPage: true })
      pictures += 1
    }
  }
}

// What a script waits for in vain is seen in a picture.
process.on('uncaughtException', async error => {
  const pages = browser.contexts().flatMap(context => context.pages())
  for (const [n, page] of pages.entries()) await page.screenshot({ path: `${out}/failed-${n}.png` }).catch(() => {})
  console.log([error.stack, ...pages.map(page => page.url()), ...wrong].join('\n'))
  process.exit(1)
})

// Ends a script: with what is wrong, if anything is.
export async function ended() {
  await browser.close()
  console.log(`${pictures} pictures in ${out}`)
  if (rows.length) console.log('| budget | measured | limit |\n|---|---|---|')
  for (const [what, value, limit, unit] of rows) console.log(`| ${what} | ${value} ${unit} | ${limit ?? '-'} |`)
  if (wrong.length) { console.log(wrong.join('\n')); process.exit(1) }
}
