import { act } from '../state/acts';
import { emulator } from '../state/emulator';
import { useStore } from '../state/store';
import type { TeamStatus } from '../state/teams';
import { Dialog } from '../ui/dialog';
import { EmulatorFields } from './emulator';

/** Brings back what was in the emulator before the last load. */
export function UndoDialog({ team, onClose }: { team: TeamStatus; onClose: () => void }) {
  const { endpoint, token } = useStore(emulator);
  const undo = async () => {
    onClose();
    await act(
      '/v1/teams/{team}/undo',
      { endpoint, ...(token ? { token } : {}) },
      {
        title: `Undo at ${endpoint}`,
        team: team.name,
        done: (undone) => `Brought back ${undone.checkpoint}: what was there before the last load.`,
      },
    );
  };
  return (
    <Dialog
      title="Undo the last load"
      onClose={onClose}
      onSubmit={() => void undo()}
      buttons={
        <>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" type="submit">
            Undo it
          </button>
        </>
      }
    >
      <p>
        podsync kept the emulator's state before each load. The newest such checkpoint replaces what is in the emulator
        now.
      </p>
      <EmulatorFields />
    </Dialog>
  );
}
