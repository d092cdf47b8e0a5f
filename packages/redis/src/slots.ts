/** Groups streams by what one command may touch. */
export type Together = <T extends { readonly stream: string }>(all: readonly T[]) => readonly (readonly T[])[];

/** One server: everything. */
export const anywhere: Together = (all) => (all.length === 0 ? [] : [all]);

/** A cluster: what has the same slot. */
export const bySlot: Together = (all) => {
  const slots = new Map<number, (typeof all)[number][]>();
  for (const each of all) {
    const slot = slotOf(each.stream);
    const list = slots.get(slot);
    if (list) list.push(each);
    else slots.set(slot, [each]);
  }
  return [...slots.values()];
};

/** CRC-16/XMODEM of the hash tag, or of the whole key when it has none, modulo 16384. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % 16_384;
}
