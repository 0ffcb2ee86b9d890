/** A part of the page onto which a file may be dropped. */
import type { ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { Icon } from './icon';

interface Props {
  onFile: (file: File) => void;
  words: string;
  class?: string;
  children: ComponentChildren;
}

export function DropZone({ onFile, words, class: name, children }: Props) {
  const [over, setOver] = useState(false);
  // Entering a child is reported before leaving its parent.
  const depth = useRef(0);
  const hasFile = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
  return (
    <div
      class={`${name ?? ''} ${over ? 'dropping' : ''}`}
      onDragEnter={(event) => {
        if (!hasFile(event)) return;
        event.preventDefault();
        depth.current += 1;
        setOver(true);
      }}
      onDragOver={(event) => {
        if (hasFile(event)) event.preventDefault();
      }}
      onDragLeave={() => {
        depth.current = Math.max(0, depth.current - 1);
        if (depth.current === 0) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        depth.current = 0;
        setOver(false);
        const file = event.dataTransfer?.files[0];
        if (file) onFile(file);
      }}
    >
      {children}
      {over && (
        <div class="drop-words" aria-hidden="true">
          <Icon name="load" /> {words}
        </div>
      )}
    </div>
  );
}
