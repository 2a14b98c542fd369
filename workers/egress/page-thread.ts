import { parentPort, workerData } from 'node:worker_threads';
import { Readability } from '@mozilla/readability';
import { parseHTML } from 'linkedom';
import TurndownService from 'turndown';
import { z } from 'zod';

/**
 * Runs in a thread of its own, with nothing in it but the page: what it reads was written by strangers, and the reader's
 * time grows faster than the page. Whoever started it ends it when it takes too long.
 */
const { html, url } = z.object({ html: z.string(), url: z.string() }).parse(workerData);

/** Deeper nesting takes the reader seconds (500 levels 0.3 s, 1,000 2 s, 2,000 14 s); honest pages have below 60. */
const depthMax = 250;
const nodesMax = 200_000;
/** An article shorter than this is more likely a wrong guess than the whole page. */
const articleCharsMin = 250;

parentPort?.postMessage({ kind: 'ready' });
parentPort?.postMessage(read());

/** As much of a node as walking takes. */
interface Walked {
  readonly firstChild: Walked | null;
  readonly nextSibling: Walked | null;
  readonly parentNode: Walked | null;
}

function read():
  | { readonly kind: 'page'; readonly title: string; readonly markdown: string }
  | { readonly kind: 'deep' } {
  // Without a root element the parser gives a bare list of nodes.
  const { document } = parseHTML(/<html[\s>]/i.test(html) ? html : `<html><body>${html}</body></html>`);
  if (!isFlat(document.documentElement)) return { kind: 'deep' };
  for (const element of document.querySelectorAll('script, style, template, noscript, iframe, object, svg, [hidden]')) {
    element.remove();
  }
  for (const element of document.querySelectorAll('[style]')) {
    if (/display\s*:\s*none|visibility\s*:\s*hidden/i.test(element.getAttribute('style') ?? '')) element.remove();
  }
  for (const [tag, name] of [
    ['a', 'href'],
    ['img', 'src'],
  ] as const) {
    for (const element of document.querySelectorAll(`${tag}[${name}]`)) {
      const target = URL.parse(element.getAttribute(name) ?? '', url);
      if (target?.protocol === 'https:' || target?.protocol === 'http:') element.setAttribute(name, target.href);
      else element.removeAttribute(name);
    }
  }
  const title = document.querySelector('title')?.textContent ?? '';
  // The reader changes the document it is given.
  const body = document.body?.innerHTML ?? '';
  const article = new Readability(document, { charThreshold: articleCharsMin }).parse();
  const isArticle = (article?.textContent ?? '').trim().length >= articleCharsMin;
  const turndown = new TurndownService({ headingStyle: 'atx', codeBlockStyle: 'fenced', bulletListMarker: '-' });
  turndown.remove(['script', 'style', 'noscript', 'iframe', 'form', 'button']);
  const markdown = turndown.turndown(isArticle ? (article?.content ?? '') : body);
  return { kind: 'page', title: (article?.title ?? title).trim(), markdown: markdown.trim() };
}

/** Walks without recursion: that is what deep pages break. */
function isFlat(root: Walked): boolean {
  let depth = 0;
  let count = 0;
  for (let node: Walked | null = root; node !== null; ) {
    count += 1;
    if (depth > depthMax || count > nodesMax) return false;
    if (node.firstChild !== null) {
      node = node.firstChild;
      depth += 1;
      continue;
    }
    while (node !== null && node !== root && node.nextSibling === null) {
      node = node.parentNode;
      depth -= 1;
    }
    node = node === null || node === root ? null : node.nextSibling;
  }
  return true;
}
