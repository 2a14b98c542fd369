/** Elements of the chat page, made one by one: nothing is ever parsed as HTML. */

/** Elements the server may ask for. */
const tags = new Set(
  'p h1 h2 h3 h4 h5 h6 strong em del code pre blockquote ul ol li table thead tbody tr th td a br hr'.split(' '),
);

/** An element with attributes (`on…` are listeners) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class') made.className = value;
    else if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** A document of the server's as elements; what is not a known element is text. */
export function build(nodes) {
  return nodes.map((node) => {
    if (typeof node === 'string') return node;
    if (!tags.has(node.t)) return document.createTextNode('');
    if (node.t === 'a') return link(node);
    if (node.t === 'pre') return code(node);
    const tag = /^h[1-6]$/.test(node.t) ? `h${Math.min(6, Number(node.t[1]) + 2)}` : node.t;
    const made = element(tag, { start: node.start, class: node.align === undefined ? '' : `to-${node.align}` });
    if (node.checked !== undefined) {
      made.className = 'task';
      made.append(
        element('input', {
          type: 'checkbox',
          disabled: true,
          checked: node.checked,
          'aria-label': node.checked ? 'done' : 'open',
        }),
      );
    }
    made.append(...build(node.c ?? []));
    return node.t === 'table'
      ? element('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': 'Table' }, made)
      : made;
  });
}

function link(node) {
  const isSafe = /^(?:https?:|mailto:)/i.test(node.href ?? '');
  if (!isSafe) return element('span', {}, ...build(node.c ?? []));
  return element(
    'a',
    { href: node.href, rel: 'noopener noreferrer nofollow', target: '_blank' },
    ...build(node.c ?? []),
  );
}

function code(node) {
  const content = (node.c ?? []).join('');
  const copy = element(
    'button',
    { type: 'button', class: 'copy', onclick: () => void copyText(content, copy) },
    'Copy',
  );
  return element(
    'div',
    { class: 'code' },
    element('div', { class: 'code-head' }, element('span', {}, node.lang ?? ''), copy),
    element('pre', { tabindex: 0 }, element('code', {}, content)),
  );
}

async function copyText(content, button) {
  try {
    await navigator.clipboard.writeText(content);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Not allowed';
  }
  setTimeout(() => (button.textContent = 'Copy'), 1500);
}
