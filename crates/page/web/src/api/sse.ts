/** Reads server-sent events from a fetch response: `EventSource` can't send the session's key. */

export interface ServerEvent {
  id: string | null;
  kind: string;
  data: string;
}

export async function* readEvents(response: Response): AsyncGenerator<ServerEvent> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let left = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      left += decoder.decode(value, { stream: true });
      const blocks = left.split('\n\n');
      left = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function parse(block: string): ServerEvent | null {
  const event: ServerEvent = { id: null, kind: 'message', data: '' };
  const data: string[] = [];
  for (const line of block.split('\n')) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name === 'event') event.kind = value ?? '';
    else if (name === 'id') event.id = value ?? '';
    else if (name === 'data') data.push(value ?? '');
  }
  event.data = data.join('\n');
  return data.length ? event : null;
}
