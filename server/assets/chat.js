/**
 * The page of the web chat. Everything that is shown is made element by element from what the server sends; nothing is
 * ever parsed as HTML (the page's policy forbids it as well).
 */

import { build, element } from './chat-document.js';
import { renderMessage } from './chat-message.js';
import { stayAtEnd } from './chat-scroll.js';
import { call, random } from './chat-server.js';
import { attach, showUploads, uploads } from './chat-uploads.js';

const byId = (id) => document.getElementById(id);
const scroll = byId('scroll');
const log = byId('log');
const live = byId('live');
const text = byId('text');

const pageSize = 50;
const retryMaxMs = 15_000;
const ackMs = 15_000;

let me = { isOperator: false, isKnown: true, commands: [], uploadBytesMax: 0 };
let thread = '';
let source;
let change = 0;
let oldest;
/** Whether the list has the name of this conversation already. */
let isTitled = false;
let unseen = 0;
let retryMs = 500;
let draft = { key: undefined, text: '' };
const end = stayAtEnd(scroll, [log, live]);
const items = new Map();
const turns = new Map();
const presses = new Map();
/** Keys of what this tab sent: what answers another tab is that one's to show. */
const sent = new Set();

const post = (kind, body) => {
  sent.add(body.key);
  return call(kind, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ thread, ...body }),
  });
};

// Messages

function show(message) {
  const known = items.get(message.messageId);
  if (message.isDeleted) {
    known?.remove();
    items.delete(message.messageId);
    return;
  }
  const item = renderMessage(message, { thread, press });
  items.set(message.messageId, item);
  if (known !== undefined) known.replaceWith(item);
  else {
    const next = [...log.children].find((other) => Number(other.dataset.id) > message.id);
    log.insertBefore(item, next ?? null);
  }
  if (message.draftId !== undefined && message.draftId === draft.key) endDraft();
  byId('empty').hidden = true;
}

// What is being written

function showDraft({ draftId, nodes }) {
  draft = { key: draftId };
  live.hidden = false;
  live.firstElementChild.replaceChildren(
    ...(nodes.length === 0 ? [element('span', { class: 'dots', 'aria-label': 'thinking' }, '● ● ●')] : build(nodes)),
  );
}

function endDraft() {
  draft = { key: undefined };
  live.hidden = true;
  live.firstElementChild.replaceChildren();
}

function showTurns() {
  const open = [...turns.values()];
  const isRunning = open.some((turn) => turn.state === 'started');
  const waiting = open.find((turn) => turn.state === 'waiting');
  const reasons = {
    approval: 'Waiting for a decision.',
    person: 'Waiting for your answer.',
    budget: 'Waiting for budget.',
    timer: 'Waiting for its time.',
    child: 'Waiting for another agent.',
  };
  byId('working').hidden = open.length === 0;
  byId('busy').textContent = isRunning
    ? 'Working…'
    : waiting === undefined
      ? ''
      : (reasons[waiting.waitingFor] ?? 'Waiting.');
  if (!isRunning) endDraft();
}

// Following a conversation

/** The tab's name says how much was said while nobody looked. */
function countUnseen() {
  unseen = document.hidden ? unseen + 1 : 0;
  document.title = `${unseen === 0 ? '' : `(${unseen}) `}Chat · Switchyard`;
}

function connect() {
  source?.close();
  byId('connection').textContent = 'Connecting…';
  const here = thread;
  const stream = new EventSource(`/chat/api/stream?thread=${here}&since=${change}`);
  source = stream;
  const on = (name, handle) =>
    stream.addEventListener(name, (event) => {
      if (here === thread) handle(JSON.parse(event.data));
    });
  on('message', (message) => {
    change = Math.max(change, message.change);
    show(message);
    if (!me.isKnown && message.direction === 'out') void refreshMe();
    if (message.direction === 'out' && message.revision === 1) countUnseen();
    if (message.direction === 'in' && !isTitled) void loadThreads();
  });
  on('draft', showDraft);
  on('turn', (turn) => {
    if (turn.state === 'started' || turn.state === 'waiting') turns.set(turn.turnId, turn);
    else turns.delete(turn.turnId);
    showTurns();
  });
  on('typing', () => undefined);
  on('ack', acknowledge);
  on('form', ({ actionId, form }) => {
    if (presses.has(actionId)) openForm(actionId, form);
  });
  on('ready', () => {
    retryMs = 500;
    byId('connection').textContent = '';
    void loadThreads();
  });
  stream.addEventListener('error', () => {
    if (stream !== source) return;
    byId('connection').textContent = 'Connecting…';
    // Told to go away or to come back later: the browser does not try again by itself.
    if (stream.readyState === EventSource.CLOSED) {
      setTimeout(() => stream === source && connect(), retryMs);
      retryMs = Math.min(retryMs * 2, retryMaxMs);
    }
  });
}

async function open(name) {
  thread = name;
  change = 0;
  oldest = undefined;
  isTitled = false;
  items.clear();
  turns.clear();
  log.replaceChildren();
  endDraft();
  showTurns();
  complain('');
  const { messages, change: at } = await call(`history?thread=${name}&limit=${pageSize}`);
  if (name !== thread) return;
  change = at;
  for (const message of messages) show(message);
  oldest = messages[0]?.id;
  byId('older').hidden = messages.length < pageSize;
  byId('empty').hidden = messages.length > 0 || !me.isKnown;
  end.go();
  connect();
  markThread();
}

async function loadOlder() {
  const { messages } = await call(`history?thread=${thread}&limit=${pageSize}&before=${oldest}`);
  end.leave();
  const height = scroll.scrollHeight;
  for (const message of messages) show(message);
  scroll.scrollTop += scroll.scrollHeight - height;
  oldest = messages[0]?.id ?? oldest;
  byId('older').hidden = messages.length < pageSize;
}

async function loadThreads() {
  const { threads } = await call('threads').catch(() => ({ threads: [] }));
  isTitled = threads.some((line) => line.thread === thread);
  const lines = isTitled ? threads : [{ thread, title: 'New conversation', at: '' }, ...threads];
  byId('threads').replaceChildren(
    ...lines.map((line) =>
      element(
        'li',
        {},
        element(
          'a',
          { href: `#${line.thread}` },
          element('span', {}, line.title),
          ...(line.at === ''
            ? []
            : [
                element(
                  'time',
                  { datetime: line.at },
                  new Date(line.at).toLocaleDateString([], { day: 'numeric', month: 'short' }),
                ),
              ]),
        ),
      ),
    ),
  );
  markThread();
}

function markThread() {
  for (const anchor of byId('threads').querySelectorAll('a')) {
    if (anchor.getAttribute('href') === `#${thread}`) anchor.setAttribute('aria-current', 'page');
    else anchor.removeAttribute('aria-current');
  }
}

// Saying and pressing

let unsent;

async function send(content, files = []) {
  // The same words keep their key until they were taken, so that trying again never says them twice.
  const mark = JSON.stringify([thread, content, files]);
  unsent = unsent?.mark === mark ? unsent : { mark, key: random(24) };
  await post('messages', { key: unsent.key, text: content, files });
  unsent = undefined;
}

async function submit() {
  const content = text.value.trim();
  if (uploads.some((upload) => upload.state === 'pending')) return complain('Wait until the files are uploaded.');
  const files = uploads.flatMap((upload) => (upload.id === undefined ? [] : [upload.id]));
  if (content === '' && files.length === 0) return;
  byId('send').disabled = true;
  try {
    await send(content, files);
    complain('');
    text.value = '';
    uploads.length = 0;
    showUploads();
    resize();
    suggest();
    end.go();
  } catch (err) {
    complain(
      err.status === undefined ? 'The server cannot be reached. Your message is still here: try again.' : err.message,
    );
  } finally {
    byId('send').disabled = false;
    focusText();
  }
}

/** Not on a phone, where the focus covers half of the page with a keyboard. */
function focusText() {
  if (!matchMedia('(pointer: coarse)').matches) text.focus();
}

async function press(button, token, message) {
  const key = random(24);
  const group = button.closest('.bubble').querySelectorAll('.buttons button:not([disabled])');
  for (const one of group) one.disabled = true;
  const free = () => {
    presses.delete(key);
    for (const one of group) one.disabled = false;
  };
  presses.set(key, free);
  setTimeout(() => presses.get(key)?.(), ackMs);
  try {
    await post('actions', { key, token, messageId: message.messageId });
  } catch (err) {
    free();
    toast(err.message, true);
  }
}

function acknowledge({ actionId, text: words, isAlert }) {
  if (!sent.has(actionId)) return;
  presses.get(actionId)?.();
  if (words !== undefined) toast(words, isAlert === true);
}

function openForm(actionId, form) {
  const dialog = byId('dialog');
  presses.get(actionId)?.();
  byId('dialog-title').textContent = form.title;
  byId('submit').textContent = form.submitLabel;
  byId('fields').replaceChildren(
    ...form.fields.map((field, index) =>
      element(
        'label',
        {},
        field.label,
        element(field.isLong ? 'textarea' : 'input', {
          name: field.name,
          required: field.isRequired,
          maxlength: field.charsMax,
          rows: field.isLong ? 4 : undefined,
          autofocus: index === 0,
        }),
      ),
    ),
  );
  dialog.onsubmit = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(
      [...byId('fields').querySelectorAll('[name]')].map((field) => [field.name, field.value]),
    );
    try {
      await post('forms', { key: random(24), token: form.token, values });
      dialog.close();
    } catch (err) {
      toast(err.message, true);
    }
  };
  dialog.showModal();
}

let toastTimer;

function toast(words, isAlert) {
  const box = byId('toast');
  box.textContent = words;
  box.setAttribute('role', isAlert ? 'alert' : 'status');
  box.classList.toggle('alert', isAlert);
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (box.hidden = true), isAlert ? 8000 : 4000);
}

function complain(words) {
  byId('problem').textContent = words;
  byId('problem').hidden = words === '';
}

// The composer

function resize() {
  text.style.height = 'auto';
  text.style.height = `${Math.min(text.scrollHeight + 2, 240)}px`;
}

function suggest() {
  const typed = /^\/(\w*)$/.exec(text.value)?.[1];
  const found =
    typed === undefined ? [] : me.commands.filter(({ name }) => name.startsWith(typed.toLowerCase())).slice(0, 8);
  const list = byId('suggestions');
  list.hidden = found.length === 0;
  list.replaceChildren(
    ...found.map(({ name, description }) =>
      element(
        'li',
        {},
        element(
          'button',
          { type: 'button', onclick: () => complete(name) },
          element('b', {}, `/${name}`),
          ` ${description}`,
        ),
      ),
    ),
  );
}

function complete(name) {
  text.value = `/${name} `;
  suggest();
  text.focus();
}

// Beginning

async function refreshMe() {
  me = await call('me');
  byId('pair').hidden = me.isKnown;
  byId('composer').hidden = !me.isKnown;
  const links = me.isOperator
    ? [
        ['/queues', 'Queues'],
        ['/logout', 'Log out'],
      ]
    : [['/login?next=/chat', 'Log in']];
  byId('links').replaceChildren(...links.map(([href, label]) => element('a', { href }, label)));
}

/** `#login=TOKEN` logs in and `#pair=CODE` pairs; a fragment never leaves the browser, and is taken away at once. */
async function takeFragment() {
  const [, kind, value] = /^#(login|pair)=([\w-]+)$/.exec(location.hash) ?? [];
  if (kind === undefined) return undefined;
  history.replaceState(null, '', '/chat');
  if (kind === 'pair') return value;
  const answer = await fetch('/login', { method: 'POST', body: new URLSearchParams({ token: value, next: '/chat' }) });
  if (!answer.ok) toast('This login link is not valid any more. The start of Switchyard prints a new one.', true);
  return undefined;
}

function route() {
  const name = /^#([a-z0-9]{8,40})$/.exec(location.hash)?.[1];
  closeSide();
  if (name === undefined) startNew();
  else if (name !== thread) open(name).catch((err) => complain(err.message));
}

function startNew() {
  location.replace(`#${random(16)}`);
}

function closeSide() {
  document.body.classList.remove('side');
  byId('menu').setAttribute('aria-expanded', 'false');
}

byId('menu').addEventListener('click', () => {
  const isOpen = document.body.classList.toggle('side');
  byId('menu').setAttribute('aria-expanded', String(isOpen));
  if (isOpen) byId('new').focus();
});
byId('new').addEventListener('click', () => {
  location.hash = random(16);
  focusText();
});
byId('older').addEventListener('click', () => {
  loadOlder().catch((err) => toast(err.message, true));
});
byId('stop').addEventListener('click', () => {
  post('stops', { key: random(24) }).catch((err) => toast(err.message, true));
});
byId('cancel').addEventListener('click', () => byId('dialog').close());
byId('attach').addEventListener('change', (event) => {
  void attach([...event.target.files], { bytesMax: me.uploadBytesMax, complain });
  event.target.value = '';
});
byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  void submit();
});
byId('pair').addEventListener('submit', (event) => {
  event.preventDefault();
  send(`/start ${byId('code').value.trim()}`).catch((err) => toast(err.message, true));
});
text.addEventListener('input', () => {
  resize();
  suggest();
});
text.addEventListener('keydown', (event) => {
  if (event.isComposing) return;
  const first = byId('suggestions').querySelector('button b');
  if (event.key === 'Tab' && !event.shiftKey && first !== null) {
    event.preventDefault();
    complete(first.textContent.slice(1));
  } else if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    void submit();
  }
});
text.addEventListener('paste', (event) => {
  if (event.clipboardData.files.length > 0)
    void attach([...event.clipboardData.files], { bytesMax: me.uploadBytesMax, complain });
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  void attach([...event.dataTransfer.files], { bytesMax: me.uploadBytesMax, complain });
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') closeSide();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) {
    countUnseen();
  }
  if (!document.hidden && thread !== '' && source?.readyState === EventSource.CLOSED) connect();
});
window.addEventListener('hashchange', route);

const pairingCode = await takeFragment();
await refreshMe();
if (pairingCode !== undefined) byId('code').value = pairingCode;
if (location.hash === '') {
  const { threads } = await call('threads').catch(() => ({ threads: [] }));
  location.replace(`#${threads[0]?.thread ?? random(16)}`);
}
route();
focusText();
