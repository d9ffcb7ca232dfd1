// What the browser is asked to remember. It may refuse to; a choice then holds until the page is left.

/** What was remembered under a name, if it is one of these values. */
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
    // Without it the next visit begins as the first.
  }
}
