/** Notices about the results of actions. Screen readers announce them too. */
import { dismiss, notices } from '../state/acts';
import { useStore } from '../state/store';
import { Icon } from '../ui/icon';
import { Words } from '../ui/words';

export function Notices() {
  const shown = useStore(notices);
  return (
    <div class="notices" role="log" aria-live="polite" aria-label="What happened">
      {shown.map(({ id, tone, text, hint }) => (
        <div key={id} class={`notice ${tone}`}>
          <Icon name={tone === 'done' ? 'check' : 'warning'} />
          <div>
            <p>
              <Words text={text} />
            </p>
            {hint && (
              <p class="faint">
                <Words text={hint} />
              </p>
            )}
          </div>
          <button type="button" class="quiet icon-only" aria-label="Dismiss" onClick={() => dismiss(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
