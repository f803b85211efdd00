// The form of a model's id on Hugging Face's hub.

/** Whether text has the form of a model's id on the hub: `org/name`. */
export function isHubId(text: string): boolean {
  const parts = text.split("/");
  const isName = (part: string) => /^[\w.-]{1,96}$/.test(part) && !/^[.-]|[.-]$|--|\.\./.test(part);
  return parts.length === 2 && parts.every(isName);
}
