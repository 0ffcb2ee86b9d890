/** A modal dialog: the browser keeps the focus inside and gives it back. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { Icon } from './icon';

interface Props {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** The row of buttons. */
  buttons?: ComponentChildren;
  wide?: boolean;
  /** If set, the dialog is a form, and Enter submits it. */
  onSubmit?: () => void;
}

export function Dialog({ title, onClose, children, buttons, wide, onSubmit }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const back = document.activeElement;
    dialog.current?.showModal();
    // Focuses the first input, or else the button that changes nothing.
    dialog.current?.querySelector<HTMLElement>('.dialog-body :is(input, select), .dialog-foot button')?.focus();
    return () => {
      if (back instanceof HTMLElement && back.isConnected) back.focus();
    };
  }, []);
  const inside = (
    <>
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" class="quiet icon-only" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <div class="dialog-body">{children}</div>
      {buttons && <footer class="dialog-foot">{buttons}</footer>}
    </>
  );
  return (
    <dialog
      ref={dialog}
      class={wide ? 'wide' : ''}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      {onSubmit ? (
        <form
          class="dialog-inside"
          onSubmit={(event) => {
            event.preventDefault();
            onSubmit();
          }}
        >
          {inside}
        </form>
      ) : (
        <div class="dialog-inside">{inside}</div>
      )}
    </dialog>
  );
}
