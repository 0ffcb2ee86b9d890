/** A text as a QR code, drawn as one path. */
import qrcode from 'qrcode-generator';
import { useMemo } from 'preact/hooks';

/** Empty modules around the code, which readers need. */
const QUIET = 4;

export function Qr({ text, label }: { text: string; label: string }) {
  const { size, path } = useMemo(() => {
    const code = qrcode(0, 'L');
    code.addData(text, 'Byte');
    code.make();
    const size = code.getModuleCount();
    let path = '';
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) if (code.isDark(y, x)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
    }
    return { size: size + 2 * QUIET, path };
  }, [text]);
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
