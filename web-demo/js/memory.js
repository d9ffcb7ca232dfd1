// Settings that the browser remembers. If storage is denied, a setting lasts until the page is closed.

/** The remembered value of a name, if it is one of `values`. */
export function remembered(name, values) {
  try {
    const value = localStorage.getItem(name);
    return values.includes(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Without storage the next visit starts with the defaults.
  }
}
