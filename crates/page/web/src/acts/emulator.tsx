import { emulator } from '../state/emulator';
import { useStore } from '../state/store';
import { TextField } from '../ui/parts';

export function EmulatorFields() {
  const { endpoint, token } = useStore(emulator);
  return (
    <>
      <TextField
        label="Emulator"
        value={endpoint}
        onValue={(endpoint) => emulator.update((known) => ({ ...known, endpoint }))}
        required
      />
      <details class="more">
        <summary>Licensed LocalStack</summary>
        <TextField
          label="Auth token"
          value={token}
          secret
          onValue={(token) => emulator.update((known) => ({ ...known, token }))}
          hint="Only where the emulator asks for it. This tab forgets it when it is closed."
        />
      </details>
    </>
  );
}
