// The page's script: what is live, and keys. Every form works without it. Text from elsewhere is only ever set as text; HTML
// comes from this page's own server, which escapes, and passes one named policy.
'use strict'
const $ = (what, where = document) => where.querySelector(what)
const all = (what, where = document) => [...where.querySelectorAll(what)]
const policy = window.trustedTypes?.createPolicy('quire', { createHTML: html => html }) ?? { createHTML: html => html }
const parsed = html => new DOMParser().parseFromString(policy.createHTML(html), 'text/html')
const noun = (count, one) => count === 1 ? `1 ${one}` : `${count} ${one}s`
const say = text => { $('#status').textContent = text }

// ---- getting in: the token behind # is sent once and forgotten
const enter = $('#enter')
if (enter) {
  const token = new URLSearchParams(location.hash.slice(1)).get('t')
  if (token) {
    history.replaceState(null, '', location.pathname)
    $('#t').value = token
    enter.submit()
  }
}

// ---- news: one stream a browser, shared by its tabs
const title = document.title
let told = 0
let lastAt
let lostSince = 0
const channel = 'BroadcastChannel' in window ? new BroadcastChannel('quire') : null

function connected(is) {
  if (is) lostSince = 0
  else lostSince ||= Date.now()
  const live = $('#live')
  if (live) { live.hidden = false; live.classList.toggle('bad', !is); live.firstElementChild.textContent = is ? 'Connected' : 'Not connected' }
  // A host that makes room for the next is gone for a moment only.
  const lost = $('#lost')
  if (lost && !is) $('#tried').textContent = `Last tried at ${new Date().toLocaleTimeString()}.`
  if (lost) { if (is) lost.hidden = true; else setTimeout(() => { if (lostSince) lost.hidden = false }, 2000) }
}

function heard(news, mine) {
  if (news.lost) return connected(false)
  connected(true)
  document.title = news.needs ? `(${news.needs}) ${title}` : title
  const { last } = news
  // As many as before may be others.
  const isNew = news.needs > told || news.needs === told && last?.at !== lastAt
  if (mine && isNew && last && document.hidden && window.Notification?.permission === 'granted') {
    const note = new Notification(last.title, { body: news.needs > 1 ? `${last.state}. ${news.needs} tasks need you.` : last.state, tag: `quire ${last.at}` })
    note.onclick = () => { window.focus(); location.href = last.at }
  }
  told = news.needs
  lastAt = last?.at
  renew()
}

// Of the tab that listens for all: its stream, and what begins the next.
let source
let next
function listen() {
  clearTimeout(next)
  source?.close()
  source = new EventSource('/news')
  source.addEventListener('news', event => {
    const news = JSON.parse(event.data)
    channel?.postMessage(news)
    heard(news, true)
  })
  source.onerror = () => {
    channel?.postMessage({ lost: true })
    connected(false)
    // One that was refused does not come back by itself.
    if (source.readyState === EventSource.CLOSED) next = setTimeout(listen, 3000)
  }
}
if ($('.bar')) {
  const tryNow = () => { if (source) listen() }
  channel?.addEventListener('message', event => { if (event.data.try) tryNow(); else heard(event.data, false) })
  $('#try')?.addEventListener('click', () => { channel?.postMessage({ try: true }); tryNow() })
  if (navigator.locks) navigator.locks.request('quire-news', () => { listen(); return new Promise(() => {}) })
  else listen()
}

// ---- rows, and parts of attempts: those that changed are exchanged; what has the focus or lies under the pointer keeps its place
let renewing = false
let again = false
// A form that is being sent would be cut off by whatever loads the page anew.
let leaving = false
document.addEventListener('submit', event => { leaving ||= !event.defaultPrevented && event.target.method === 'post' })
addEventListener('pageshow', () => { leaving = false })
async function renew() {
  const rows = $('#rows')
  const parts = $('main[data-parts]')
  if (!rows && !parts || leaving) return
  if (renewing) { again = true; return }
  renewing = true
  try {
    const answer = await fetch(rows ? '/rows' + location.search : location.href)
    if (leaving) { /* where it leads is new anyway */ }
    else if (answer.redirected) location.replace(answer.url)
    else if (answer.ok && rows) exchange(rows, parsed(await answer.text()).body)
    else if (answer.ok) exchangeParts(parsed(await answer.text()))
  } catch { /* the stream says when it is there again */ }
  renewing = false
  if (again) { again = false; renew() }
}

function exchange(rows, fresh) {
  const focus = document.activeElement
  const at = focus?.closest('.task')?.id
  const shape = tree => all('.grp, .task', tree).map(x => x.id || x.getAttribute('aria-label') + $('.n', x).textContent).join()
  if (shape(rows) === shape(fresh)) {
    for (const row of all('.task', fresh)) {
      const old = document.getElementById(row.id)
      if (old.isEqualNode(row) || old.contains(focus)) continue
      if (old.getAttribute('aria-current')) row.setAttribute('aria-current', 'true')
      if (old.dataset.mark !== row.dataset.mark) say(`${$('.t', row).textContent}: ${$('.s', row).textContent}`)
      old.replaceWith(row)
    }
  } else {
    const current = $('.task[aria-current]', rows)?.id
    for (const row of all('.task', fresh)) {
      const old = document.getElementById(row.id)
      if (old && old.dataset.mark !== row.dataset.mark) say(`${$('.t', row).textContent}: ${$('.s', row).textContent}`)
    }
    rows.replaceChildren(...fresh.childNodes)
    if (current) document.getElementById(current)?.setAttribute('aria-current', 'true')
    if (at) $('a', document.getElementById(at) ?? rows)?.focus({ preventScroll: true })
  }
}

function exchangeParts(fresh) {
  const [old, parts] = [all('[data-part]'), all('[data-part]', fresh)]
  // Words that are being typed are worth more than what is new.
  if (old.map(part => part.id).join() !== parts.map(part => part.id).join()) { if (!$('#mix')?.value && !leaving) location.reload(); return }
  parts.forEach((part, n) => {
    const mix = $('#mix', old[n])
    if (old[n].isEqualNode(part) || old[n].contains(document.activeElement) || mix?.value) return
    const [was, now] = [old[n], part].map(one => $('.st', one)?.getAttribute('aria-label'))
    if (now && was !== now) say(`${$('h2', part)?.textContent ?? ''}: ${now}`)
    old[n].replaceWith(part)
  })
}

// Sets text in which backticks stand around code.
function quoting(place, text) {
  const parts = text.split('`')
  if (parts.length % 2 === 0) { place.textContent = text; return }
  place.replaceChildren(...parts.map((part, n) => {
    if (n % 2 === 0) return part
    const code = document.createElement('code')
    code.textContent = part
    return code
  }))
}

// ---- a task at work
const work = $('main[data-after]')
if (work) {
  let after = work.dataset.after
  let source
  const steps = $('#steps')
  const follow = () => {
    source = new EventSource(`/tasks/${work.dataset.task}/events?after=${after}`)
    source.addEventListener('line', event => {
      after = event.lastEventId || after
      const line = JSON.parse(event.data)
      const item = document.createElement('li')
      item.className = line.mark
      const [text, time] = [document.createElement('span'), document.createElement('time')]
      quoting(text, line.text)
      time.textContent = line.at
      item.append(text, time)
      steps.append(item)
      while (steps.children.length > 200) steps.firstChild.remove()
    })
    source.addEventListener('now', event => {
      const now = JSON.parse(event.data)
      if (now.text) quoting($('#now'), now.text)
      if (now.cost) $('#cost').textContent = now.cost
      const output = $('#output')
      output.hidden = true
      output.textContent = ''
    })
    source.addEventListener('plan', async () => {
      const answer = await fetch(`/tasks/${work.dataset.task}/plan`)
      if (answer.ok) $('#plan').replaceChildren(...parsed(await answer.text()).body.childNodes)
    })
    source.addEventListener('output', event => {
      const output = $('#output')
      output.hidden = false
      output.textContent = (output.textContent + JSON.parse(event.data).text).slice(-4000)
      output.scrollTop = output.scrollHeight
    })
    const look = () => {
      source.close()
      if (leaving) return
      // Words that are being typed are worth more than what is new.
      if ($('#words')?.value.trim()) { $('#now').textContent = 'This has ended. Send what you wrote, or load the page anew.' }
      else location.reload()
    }
    source.addEventListener('asks', look)
    source.addEventListener('rest', event => { say(JSON.parse(event.data).state); look() })
  }
  follow()
  // A tab that nobody sees for a minute needs no stream of its own.
  let hiding
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding)
    if (document.hidden) hiding = setTimeout(() => source.close(), 60000)
    else if (source.readyState === EventSource.CLOSED) location.reload()
  })
}

// ---- what is written and not sent stays in the tab
for (const field of all('textarea')) {
  const place = `quire ${location.pathname} ${field.id}`
  try {
    field.value ||= sessionStorage.getItem(place) ?? ''
    field.addEventListener('input', () => sessionStorage.setItem(place, field.value))
    field.form?.addEventListener('submit', () => sessionStorage.removeItem(place))
  } catch { /* storage is off */ }
}

// ---- a folder that is chosen is shown at once
$('#in')?.addEventListener('change', () => $('#find-form').requestSubmit())

// ---- an idea fills in the box
all('a[data-words]').forEach(idea => idea.addEventListener('click', event => {
  event.preventDefault()
  $('#q').value = idea.dataset.words
  $('#q').focus()
}))

// ---- files that are handed over: told by name, and before they are sent where they are too much
const FILES_MAX = 25 * 1024 * 1024
const given = $('input[type=file]')
given?.addEventListener('change', () => {
  const files = [...given.files]
  $('#files-told').textContent = files.length > 1 ? noun(files.length, 'file') : files[0]?.name ?? 'Attach'
  given.setCustomValidity(files.reduce((sum, file) => sum + file.size, 0) > FILES_MAX - 65536 ? 'These are more than 25 MB.' : '')
  given.reportValidity()
})
if (given) for (const kind of ['paste', 'drop', 'dragover']) given.form.addEventListener(kind, event => {
  const more = event.clipboardData ?? event.dataTransfer
  if (![...more.types].includes('Files') || kind === 'paste' && more.types.includes('text/plain')) return
  event.preventDefault()
  if (kind === 'dragover') return
  const whole = new DataTransfer()
  for (const file of [...given.files, ...more.files]) whole.items.add(file)
  given.files = whole.files
  given.dispatchEvent(new Event('change'))
})

// ---- a notification is asked for when a task is started, where one can be missed
$('form.ask[action="/tasks"]')?.addEventListener('submit', () => {
  if (window.Notification?.permission === 'default') Notification.requestPermission()
})

// ---- a command is copied; where a browser does not let it, it is marked
all('[data-copy]').forEach(button => {
  button.hidden = false
  button.addEventListener('click', async () => {
    const lines = document.getElementById(button.dataset.copy)
    getSelection().selectAllChildren(lines)
    const copied = await navigator.clipboard?.writeText(lines.textContent).then(() => true, () => false)
    button.textContent = copied ? 'Copied' : 'Marked, to be copied'
    say(button.textContent)
  })
})

// ---- what is being tried, or starts, is looked at until it is known
if ($('[data-probing]')) setTimeout(() => location.reload(), 800)

// ---- choosing files, and changes within them. What is left out is remembered here, because its lines may go and come back
// Other forms name files too.
const boxes = () => all('input[name=file][form=accept]')
const seenAs = $('#accept [name=seen]') && `quire left ${$('#accept [name=seen]').value}`
const left = new Map()
const without = new Set()
try {
  const kept = JSON.parse(seenAs && sessionStorage.getItem(seenAs) || '{}')
  for (const [id, file] of kept.left ?? []) left.set(id, file)
  for (const file of kept.without ?? []) without.add(file)
} catch { /* storage is off */ }
const isPart = file => [...left.values()].includes(file)
// Changes that are left out of files that are taken.
const lessened = () => [...left.values()].filter(file => !without.has(file))
const restore = place => all('input[name=leave]', place).forEach(box => { box.checked = left.has(box.value); fade(box) })
function fade(box) {
  for (let line = box.closest('.hunk-h').nextElementSibling; line?.matches('.l'); line = line.nextElementSibling) line.classList.toggle('no', box.checked)
}
// Takes a file whole, or leaves it.
function take(file, is) {
  if (is) without.delete(file)
  else without.add(file)
  if (is && isPart(file)) {
    for (const [id, its] of left) if (its === file) left.delete(id)
    restore($(`#f${file}`))
  }
}
function choose(box) {
  const file = box?.name === 'leave' ? box.closest('.file')?.id.slice(1) : box?.value
  if (box?.name === 'leave') {
    fade(box)
    if (box.checked) left.set(box.value, file)
    else left.delete(box.value)
  } else if (box?.id === 'all') {
    const isLess = without.size + lessened().length > 0
    boxes().forEach(one => take(one.value, isLess))
  }
  // A click on the box of what is taken in part takes all of it.
  else if (box && !without.has(file) && isPart(file)) take(file, true)
  else if (box?.checked) without.delete(file)
  else if (box) without.add(file)
  try { if (seenAs) sessionStorage.setItem(seenAs, JSON.stringify({ left: [...left], without: [...without] })) } catch { /* storage is off */ }
  show()
}
function show() {
  for (const one of [...boxes(), ...all('input[name=head]')]) {
    one.checked = !without.has(one.value)
    one.indeterminate = one.checked && isPart(one.value)
  }
  // Where only some of the changes are on the page, no file has a box.
  const whole = +($('#accept [name=all]')?.value ?? 0)
  const [taken, count] = whole ? [whole - without.size, whole] : [boxes().filter(one => one.checked).length, boxes().length]
  const less = lessened().length
  const whichever = $('#all')
  if (whichever) [whichever.hidden, whichever.checked, whichever.indeterminate] = [false, taken > 0, taken > 0 && (taken < count || less > 0)]
  const but = less ? `, without ${noun(less, 'change')}` : ''
  if ($('#taking')) $('#taking').textContent = `Taking ${taken} of ${noun(count, 'file')}${but}`
  // One that goes on cannot be accepted.
  if (!$('#accept-count')) return
  $('#accept-count').textContent = noun(taken, 'file')
  $('#accept-button').disabled = taken === 0
  if ($('#will')) $('#will').textContent = `Accept writes ${noun(taken, 'file')}${but}. You can undo it.`
}
document.addEventListener('change', event => { if (['file', 'head', 'leave'].includes(event.target.name) || event.target.id === 'all') choose(event.target) })
$('#accept')?.addEventListener('formdata', event => {
  event.formData.delete('leave')
  for (const id of left.keys()) event.formData.append('leave', id)
  // There the files have no boxes.
  if (event.formData.has('all')) for (const file of without) event.formData.append('without', file)
  if (is('go-on')) event.formData.append('next', 'yes')
})

// ---- what was looked at folds, and stays so
document.addEventListener('click', async event => {
  const mark = event.target.closest('.seen')
  if (!mark) return
  event.preventDefault()
  const form = new URLSearchParams(new FormData(mark.form))
  form.set(mark.name, mark.value)
  const answer = await fetch(mark.form.action, { method: 'POST', body: form, redirect: 'manual' }).catch(() => null)
  if (!answer) return say('Not marked: quire does not answer.')
  if (answer.type !== 'opaqueredirect') return mark.form.requestSubmit(mark)
  const is = mark.name === 'mark'
  mark.name = is ? 'unmark' : 'mark'
  mark.setAttribute('aria-checked', is)
  const file = mark.closest('.file')
  // What is long or made by a program stays folded.
  $('details', file).open = !is && !$('details.closed', file)
  if (file.getBoundingClientRect().top < 112) file.scrollIntoView({ block: 'start' })
})

// ---- which side is shown
all('a[target=preview]').forEach(link => link.addEventListener('click', () => {
  for (const other of all('a[target=preview]')) other.removeAttribute('aria-current')
  link.setAttribute('aria-current', 'true')
}))

restore(document)
if ($('#all') || left.size + without.size && $('#accept [name=all]')) show()

// ---- what a page that is shown was kept from is known a moment after it was loaded
const kept = $('#kept-from')
$('iframe[name=preview]')?.addEventListener('load', () => setTimeout(async () => {
  const answer = await fetch(kept.dataset.src)
  if (answer.ok) kept.replaceChildren(...parsed(await answer.text()).body.childNodes)
}, 1000))

// ---- notes: written where they belong. m, or the number of a line
const template = $('#note-form')
function writeNote(after, fields) {
  $('.note-row:has(form)')?.remove()
  const row = document.createElement('div')
  row.className = 'note-row'
  row.append(template.content.cloneNode(true))
  const form = $('form', row)
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement('input')
    Object.assign(field, { type: 'hidden', name, value })
    form.append(field)
  }
  after.after(row)
  $('textarea', row).focus()
}
if (template) document.addEventListener('click', event => {
  const way = event.target.closest('.note-it')
  const line = event.target.closest('.l[data-n]')
  if (way) {
    event.preventDefault()
    writeNote(way.closest('.hunk-h') ?? way.closest('header'), Object.fromEntries(new URLSearchParams(way.dataset.on)))
  } else if (line && event.clientX - line.getBoundingClientRect().left < 100 && !getSelection().toString()) {
    writeNote(line, { file: decodeURIComponent(line.closest('.file').dataset.path), line: line.dataset.n })
  }
})

// ---- a search in the changes is listed above them
const find = $('.find[action$="/find"]')
find?.addEventListener('submit', async event => {
  event.preventDefault()
  const answer = await fetch(`${find.getAttribute('action')}?part&${new URLSearchParams(new FormData(find))}`)
  if (answer.ok) $('#found').replaceChildren(...parsed(await answer.text()).body.childNodes)
})
$('#found')?.addEventListener('click', event => {
  const place = document.getElementById(event.target.closest('a')?.hash.slice(1) ?? '')
  if (!place) return
  event.preventDefault()
  place.closest('details').open = true
  place.scrollIntoView({ block: 'center' })
})

// ---- how changes are laid out stays as it was
try {
  const layout = $('.seg[aria-label="Layout of the changes"]')
  const isSplit = search => new URLSearchParams(search).has('split')
  const asked = new URLSearchParams(location.search)
  if (layout && !asked.has('split') && localStorage.getItem('quire split') === 'on') {
    asked.set('split', '')
    location.replace(`?${asked}${location.hash}`)
  }
  layout?.addEventListener('click', event => localStorage.setItem('quire split', isSplit(event.target.search) ? 'on' : 'off'))
} catch { /* storage is off */ }

// ---- code in colours: what the server tells of a line is painted, and no element more
const inks = window.Highlight && CSS.highlights ? Object.fromEntries([...'ctnw'].map(kind => [kind, new Highlight()])) : null
for (const kind in inks) CSS.highlights.set(`code-${kind}`, inks[kind])
const painted = new WeakMap()
function paint(place) {
  if (!inks) return
  const ranges = []
  for (const line of all('[data-h]', place)) {
    const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT)
    let [node, before] = [texts.nextNode(), 0]
    // The node in which a place lies; an end may lie at the end of one.
    const at = (offset, isEnd) => {
      while (node && offset - before >= node.length + (isEnd ? 1 : 0)) { before += node.length; node = texts.nextNode() }
      return node && [node, offset - before]
    }
    for (const one of line.dataset.h.split(' ')) {
      const [start, length, kind] = one.split('.')
      const from = at(+start, false)
      const to = from && at(+start + +length, true)
      if (!to) break
      const range = new StaticRange({ startContainer: from[0], startOffset: from[1], endContainer: to[0], endOffset: to[1] })
      inks[kind]?.add(range)
      ranges.push([kind, range])
    }
  }
  painted.set(place, ranges)
}
const unpaint = place => { for (const [kind, range] of painted.get(place) ?? []) inks[kind].delete(range) }

// ---- chunks of long changes come when they are near
// So that a page stays below 4,000 elements, with the chunks that it came with and two sides of a line.
const CHUNKS_MAX = 6
const near = new IntersectionObserver(seen => {
  // One that has no height lies in a closed file.
  for (const one of seen) if (one.isIntersecting && one.boundingClientRect.height > 0) soon(one.target)
}, { rootMargin: '1200px' })
// What is only flown over is not fetched.
const soon = (place, after = 80) => setTimeout(() => {
  const at = place.getBoundingClientRect()
  if (at.height > 0 && at.bottom > -1200 && at.top < innerHeight + 1200) fetchChunk(place)
}, after)
const there = []
const coming = new Set()
async function fetchChunk(place) {
  if (!place.classList.contains('wait') || coming.has(place)) return
  // Its height is kept until the lines are there: else the next ones would come into view, and all be fetched at once.
  coming.add(place)
  try {
    const answer = await fetch(place.dataset.src)
    if (!answer.ok) throw new Error(answer.status)
    place.replaceChildren(...(parsed(await answer.text()).body.firstElementChild?.childNodes ?? []))
    restore(place)
    paint(place)
    place.classList.remove('wait')
    there.push(place)
    if (there.length > CHUNKS_MAX) {
      // The farthest goes, its height stays.
      there.sort((a, b) => Math.abs(a.getBoundingClientRect().top) - Math.abs(b.getBoundingClientRect().top))
      const gone = there.pop()
      gone.style.height = `${gone.offsetHeight}px`
      unpaint(gone)
      gone.replaceChildren()
      gone.classList.add('wait')
      near.unobserve(gone)
      near.observe(gone)
    }
  } catch {
    soon(place, 1500)
  } finally {
    coming.delete(place)
  }
}
all('.chunk:not(.wait)').forEach(paint)
there.push(...all('.chunk.whole:not(.wait)').filter(place => place.dataset.src))
all('.chunk.wait').forEach(place => near.observe(place))
all('.file>details').forEach(file => file.addEventListener('toggle', () => {
  for (const place of all('.chunk.wait', file)) { near.unobserve(place); near.observe(place) }
}))

// ---- tabs follow the scrolling
const links = all('.tabs a')
if (links.length) {
  const sections = new IntersectionObserver(seen => {
    for (const one of seen) {
      if (!one.isIntersecting) continue
      for (const link of links) {
        if (link.hash === '#' + one.target.id) link.setAttribute('aria-current', 'true')
        else link.removeAttribute('aria-current')
      }
    }
  }, { rootMargin: '-120px 0px -65% 0px' })
  all('.sec[id]').forEach(section => sections.observe(section))
}

// ---- keys
// What is set among them is this browser's.
const is = name => { try { return localStorage.getItem(`quire ${name}`) === 'on' } catch { return false } }
if (is('changes-first') && !location.hash) $('main[data-review] #changes')?.scrollIntoView()
for (const box of all('#keys-off, #go-on, #changes-first')) {
  box.checked = is(box.id)
  box.addEventListener('change', () => { try { localStorage.setItem(`quire ${box.id}`, box.checked ? 'on' : 'off') } catch { /* storage is off */ } })
}
const typing = target => target.closest?.('input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]')
function move(by) {
  const rows = all('.task')
  if (!rows.length) return
  const at = rows.findIndex(row => row.getAttribute('aria-current'))
  rows[at]?.removeAttribute('aria-current')
  const row = rows[Math.max(0, Math.min(rows.length - 1, at + by))]
  row.setAttribute('aria-current', 'true')
  row.scrollIntoView({ block: 'nearest' })
  $('.t a', row).focus({ preventScroll: true })
}
// What lies in a folded file is not where it seems to be.
const unfolded = what => all(what).filter(one => !one.closest('details:not([open])'))
const keys = {
  '?': () => $('#help').showModal(),
  c: () => ($('#q') ? $('#q').focus() : location.assign('/')),
  '/': () => $('#find')?.focus(),
  j: () => move(1),
  k: () => move(-1),
  y: () => $('.task[aria-current] .allow, main[data-task] .allow')?.closest('form').requestSubmit(),
  n: () => unfolded('.hunk-h').find(hunk => hunk.getBoundingClientRect().top > 190)?.scrollIntoView({ block: 'start' }),
  x: () => {
    // The change that is read, or the file that has the focus.
    const focused = document.activeElement?.matches('[name=file][form=accept], [name=head]') ? document.activeElement : null
    const box = focused ?? unfolded('input[name=leave]').findLast(one => one.getBoundingClientRect().top < innerHeight / 2)
    box?.click()
  },
  m: () => ($('#mix') ? $('#mix').focus() : unfolded('.note-it').findLast(one => one.getBoundingClientRect().top < innerHeight / 2)?.click()),
  A: () => $('#accept')?.requestSubmit(),
  R: () => { if ($('form [name=notes]')) return $('form [name=notes]').form.requestSubmit(); $('#say')?.scrollIntoView({ block: 'center' }); $('#words')?.focus() },
  U: () => $('.accept .undo')?.closest('form').requestSubmit()
}
// What is decided by a key is decided once, and of a page that was looked at: a key that is held, or was meant for the page before,
// decides nothing.
const decides = ['A', 'R', 'U', 'y']
const [opened, LOOKS_MS] = [$('.after') ? Date.now() : 0, 1000]
document.addEventListener('keydown', event => {
  if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') { event.target.form?.requestSubmit(); return }
  if (event.key === 'Escape') { event.target.blur?.(); return }
  if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || is('keys-off') || $('dialog[open]')) return
  // A key that is written on something of this page goes before those of all.
  const own = all('[aria-keyshortcuts]').find(one => one.getAttribute('aria-keyshortcuts') === event.key)
  const does = own ? () => own.click() : keys[event.key]
  if (!does) return
  event.preventDefault()
  if (decides.includes(event.key) && (event.repeat || Date.now() - opened < LOOKS_MS)) return
  does()
})
