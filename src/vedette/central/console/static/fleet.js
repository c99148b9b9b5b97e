// The fleet page: links that change only a part of it do so without a new page.

function follow(event) {
  const link = event.target.closest?.("a[data-part]");
  if (!link || !window.htmx || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const panel = document.getElementById("fleet");
  panel.setAttribute("hx-get", link.getAttribute("href"));
  window.htmx.process?.(panel);
  history.replaceState(null, "", link.href);
  window.htmx.trigger(panel, "refresh");
}

document.addEventListener("click", follow);
