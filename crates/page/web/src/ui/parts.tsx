/** Small components that several views use. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';
import { CallError, type Progress } from '../api/call';
import { ago, bytes, when } from '../text';
import { Icon, type IconName } from './icon';
import { Words } from './words';

export function Time({ ms }: { ms: number }) {
  return (
    <time dateTime={new Date(ms).toISOString()} title={when(ms)}>
      {ago(ms)}
    </time>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1500);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button
      type="button"
      class="quiet icon-only"
      aria-label={copied ? 'Copied' : label}
      title={copied ? 'Copied' : label}
      onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}
    >
      <Icon name={copied ? 'check' : 'copy'} />
    </button>
  );
}

interface EmptyProps {
  title: string;
  children: ComponentChildren;
  icon?: IconName;
}

/** The placeholder of an empty view: says what to do next. */
export function Empty({ title, children, icon }: EmptyProps) {
  return (
    <div class="empty">
      {icon && (
        <span class="empty-icon">
          <Icon name={icon} />
        </span>
      )}
      <h2>{title}</h2>
      <div>{children}</div>
    </div>
  );
}

export function Trouble({ error, again }: { error: CallError; again?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <Icon name="warning" />
      <div>
        <p>
          <Words text={error.told.message} />
        </p>
        {error.told.hint && (
          <p class="faint">
            <Words text={error.told.hint} />
          </p>
        )}
        {again && (
          <button type="button" onClick={again}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p class="loading" role="status">
      Reading {what}…
    </p>
  );
}

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  children: (id: string, described: string | undefined) => ComponentChildren;
}

export function Field({ label, hint, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, hint ? `${id}-hint` : undefined)}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

interface TextProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  hint?: ComponentChildren;
  required?: boolean;
  /** Hides the text while it is typed, as for passwords. */
  secret?: boolean;
  /** Suggestions for the input. */
  list?: string[];
  placeholder?: string;
}

export function TextField({ label, value, onValue, hint, required, secret, list, placeholder }: TextProps) {
  return (
    <Field label={label} hint={hint}>
      {(id, described) => {
        const common = {
          id,
          autocomplete: 'off' as const,
          spellcheck: false,
          value,
          required,
          placeholder,
          'aria-describedby': described,
          onInput: (event: { currentTarget: HTMLInputElement }) => onValue(event.currentTarget.value),
        };
        if (secret) return <input type="password" {...common} />;
        if (!list?.length) return <input type="text" {...common} />;
        return (
          <>
            <input type="text" list={`${id}-list`} {...common} />
            <datalist id={`${id}-list`}>
              {list.map((value) => (
                <option key={value} value={value} />
              ))}
            </datalist>
          </>
        );
      }}
    </Field>
  );
}

interface SelectProps<T extends string> {
  label: string;
  value: T;
  choices: readonly (readonly [T, string])[];
  onValue: (value: T) => void;
  hint?: ComponentChildren;
}

export function SelectField<T extends string>({ label, value, choices, onValue, hint }: SelectProps<T>) {
  return (
    <Field label={label} hint={hint}>
      {(id, described) => (
        <select
          id={id}
          value={value}
          aria-describedby={described}
          onChange={(event) => onValue(event.currentTarget.value as T)}
        >
          {choices.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

interface CheckProps {
  label: ComponentChildren;
  checked: boolean;
  onChecked: (checked: boolean) => void;
}

export function CheckField({ label, checked, onChecked }: CheckProps) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChecked(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

const STAGES: Record<Progress['stage'], string> = {
  reading: 'Reading from the emulator',
  packing: 'Packing',
  sharing: 'Sharing',
  finding: 'Looking for teammates who have it',
  pulling: 'Downloading',
  uploading: 'Uploading to the bucket',
  rebuilding: 'Rebuilding the state',
  loading: 'The emulator loads it',
  verifying: 'Checking',
};

export function ProgressLine({ progress }: { progress: Progress | null }) {
  if (!progress) return <p class="faint">Starting…</p>;
  const { stage, done, total } = progress;
  const text = STAGES[stage] ?? stage;
  return (
    <div class="progress-line">
      <div class="progress-words">
        <span>{progress.waiting ?? text}</span>
        {done > 0 && (
          <span class="faint number">
            {bytes(done)}
            {total ? ` of ${bytes(total)}` : ''}
          </span>
        )}
      </div>
      <progress aria-label={text} max={total ?? undefined} value={total ? Math.min(done, total) : undefined} />
      {!!progress.providers?.length && <p class="faint">from {progress.providers.join(', ')}</p>}
    </div>
  );
}

export function Dot({ tone, label }: { tone: 'good' | 'off' | 'bad'; label: string }) {
  return <span class={`dot ${tone}`} role="img" aria-label={label} title={label} />;
}
